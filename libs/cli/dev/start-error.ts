/** The mesh cannot start, and whoever started it can do something about that. The message is one sentence for them. */
export class StartError extends Error {
  override readonly name = "StartError";
  readonly expected = true;
  readonly exitCode = 1;
}
