/** Additions that are looked through one by one before all are gathered anew. */
const MAX_CHAIN = 64;

/**
 * A map that never changes: `with` makes another one that shares what it has. A Dockerfile of ten thousand ENV would otherwise copy ten thousand
 * maps. Names keep the place that they first had, as in a Map.
 */
export class LayeredMap<V> {
  #below: LayeredMap<V> | undefined;
  readonly #name: string;
  readonly #value: V | undefined;
  readonly #depth: number;
  #gathered: ReadonlyMap<string, V> | undefined;

  private constructor(
    below: LayeredMap<V> | undefined,
    name: string,
    value: V | undefined,
    gathered: ReadonlyMap<string, V> | undefined,
  ) {
    this.#below = below;
    this.#name = name;
    this.#value = value;
    this.#gathered = gathered;
    this.#depth = !below || below.#gathered ? 1 : below.#depth + 1;
  }

  static of<V>(entries: Iterable<readonly [string, V]>): LayeredMap<V> {
    return new LayeredMap<V>(undefined, "", undefined, new Map(entries));
  }

  with(name: string, value: V): LayeredMap<V> {
    if (this.#depth >= MAX_CHAIN) this.all();
    return new LayeredMap<V>(this, name, value, undefined);
  }

  get(name: string): V | undefined {
    let layer: LayeredMap<V> | undefined = this as LayeredMap<V>;
    for (; layer; layer = layer.#below) {
      if (layer.#gathered) return layer.#gathered.get(name);
      if (layer.#name === name) return layer.#value;
    }
    return undefined;
  }

  has(name: string): boolean {
    let layer: LayeredMap<V> | undefined = this as LayeredMap<V>;
    for (; layer; layer = layer.#below) {
      if (layer.#gathered) return layer.#gathered.has(name);
      if (layer.#name === name) return true;
    }
    return false;
  }

  /** Everything as one map. */
  all(): ReadonlyMap<string, V> {
    if (this.#gathered) return this.#gathered;
    const added: LayeredMap<V>[] = [];
    let layer: LayeredMap<V> | undefined = this as LayeredMap<V>;
    for (; layer && !layer.#gathered; layer = layer.#below) added.push(layer);
    const gathered = new Map(layer ? layer.#gathered : undefined);
    // a layer without a map was made by `with`, which gives it a value
    for (const one of added.reverse()) gathered.set(one.#name, one.#value as V);
    this.#gathered = gathered;
    this.#below = undefined;
    return gathered;
  }
}
