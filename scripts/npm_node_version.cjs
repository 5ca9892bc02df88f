// Loaded into npm by scripts/setup. The packages run on Deno, not on the Node that runs npm; but npm leaves out an
// optional package (a platform's binary, say) without a word when the running Node is older than it asks for, and
// Debian's is. So npm is told the version of Node that Deno stands for.
Object.defineProperty(process, "version", { value: "v26.3.0" });
