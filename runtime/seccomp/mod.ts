export { compileSeccomp, seccompFlags, type SeccompTarget } from "./compile.ts";
export { defaultProfile } from "./default_profile.ts";
export { parseSeccompProfile, type SeccompProfile } from "./profile.ts";
