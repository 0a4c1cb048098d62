/** Exit codes of the command line. */
export const exitCodes = {
  ok: 0,
  /** It began and could not be finished, or lost messages on the way. */
  failed: 1,
  /** It cannot be done as written: arguments, pipeline, operator or parameters. */
  usage: 2,
  interrupted: 130,
} as const;
