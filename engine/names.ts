/** Identifiers and names of containers. */
import { invalid } from "../base/errors.ts";

const ADJECTIVES =
  `able airy amber ample ardent artful astute avid balanced bold brave breezy bright brisk buoyant calm
candid careful cheerful clear clever coastal cordial crisp curious daring dashing dauntless deft earnest easy elated
epic fair fearless festive fleet fluent fond frosty gallant generous gentle gifted glad gleaming golden graceful grand
happy hardy hearty honest hopeful humble jolly jovial keen kind lasting lively loyal lucid lucky mellow merry mighty
mindful misty modest moored neat nimble noble patient placid plucky polite proud quick quiet quirky radiant rested
robust rosy salty sea_worthy serene sharp silent smart snug sober solid spry stable steady stoic sturdy sunny swift
tender thrifty tidal tidy trim trusty upbeat valiant vivid warm wise witty zealous zesty`
    .split(/\s+/).map((word) => word.replaceAll("_", ""));

/** Scientists, engineers and seafarers. */
const SURNAMES =
  `abel ampere amundsen archimedes aristarchus avogadro babbage baffin banks banneker barents beaufort
bering bernoulli blackwell bohr boole bose bougainville bowditch brahe brahmagupta cabot carson cartier cavendish chandrasekhar
champlain columbus cook copernicus coulomb cousteau curie cousins darwin davis dias dirac drake earle edison einstein
elcano erdos eriksson euclid euler faraday fermat fermi feynman fitzroy flinders franklin fresnel frobisher galileo
galois gama gauss germain gilbert goddard goodall hadley halley hamilton harrison heisenberg herschel hertz hilbert
hodgkin hooke hopper hudson humboldt huygens hypatia ibnbattuta jenner johnson joule kelvin kepler khayyam kilby knuth
kovalevskaya lagrange lamarr laplace lavoisier leibniz linnaeus lise lovelace magellan maury maxwell mayer mccarthy
meitner mendel mendeleev mercator mirzakhani moore morse nansen napier nash newton nobel noether ohm oppenheimer
oresme pascal pasteur pauling peary piri planck poincare polo ptolemy pythagoras raman ramanujan ride riemann ross
rutherford sabin sagan shackleton shannon slocum somerville stokes swan tasman tesla thales torricelli turing
tyson vespucci volta wallace watt wegener weierstrass wiles worsley wright wozniak wu yalow yukawa zeno zhenghe`
    .split(/\s+/);

/** How often a plain name is drawn before a digit is appended, and how often then. */
const PLAIN_TRIES = 6;

function pick(words: readonly string[]): string {
  const random = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  return words[random % words.length] ?? "berth";
}

/**
 * 64 hexadecimal digits from 32 random bytes. The first twelve, which are the host name by default, are never
 * all decimal: a host name that is a number confuses programs.
 */
export function newContainerId(
  random: (into: Uint8Array<ArrayBuffer>) => unknown = (into) => crypto.getRandomValues(into),
): string {
  for (;;) {
    const bytes = new Uint8Array(32);
    random(bytes);
    const id = bytes.toHex();
    if (!/^\d{12}/.test(id)) return id;
  }
}

/**
 * A name `adjective_surname` that nobody has.
 *
 * @param taken whether a name is in use.
 */
export function generateName(taken: (name: string) => boolean): string {
  for (let attempt = 0;; attempt++) {
    const name = `${pick(ADJECTIVES)}_${pick(SURNAMES)}`;
    if (name === "boring_wozniak") continue; // Steve Wozniak is not boring
    const digits = attempt < PLAIN_TRIES
      ? ""
      : String(Math.floor(Math.random() * 10 ** (attempt / PLAIN_TRIES)));
    if (!taken(name + digits)) return name + digits;
  }
}

/**
 * Checks a name that a user chose. One leading slash, which is how the API spells names, is not part of it.
 *
 * @returns the name without the slash.
 * @throws EngineError invalid, in Docker's words.
 */
export function checkName(name: string): string {
  const bare = name.startsWith("/") ? name.slice(1) : name;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(bare)) {
    throw invalid(`Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
  }
  return bare;
}

/** For tests: how many words there are to choose from. */
export const NAME_WORDS: { readonly adjectives: readonly string[]; readonly surnames: readonly string[] } = {
  adjectives: ADJECTIVES,
  surnames: SURNAMES,
};
