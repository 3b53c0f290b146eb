/** One environment variable, declared as data: what it accepts, what it falls back to, what it is for. */
export interface Variable<T> {
  /** One line for the documentation, without a full stop. */
  readonly doc: string;
  readonly required: boolean;
  /** The default as a person would write it; `undefined` when there is none. */
  readonly defaultText: string | undefined;
  /** What is accepted, to follow "expected": `an integer from 1 to 200`. */
  readonly expected: string;
  readonly example: string;
  /** How a given value may be shown: without its secrets. */
  readonly show: (text: string) => string;
  /** Throws `Unacceptable` when the text is not what is expected. */
  readonly parse: (text: string) => T;
  /** The value when the variable is unset: the default, or undefined. */
  readonly fallback: T;
}

/** Thrown by `parse`. Its message, when it has one, says more than "expected …" does. */
export class Unacceptable extends Error {}

type Scalar = string | number | boolean;

export interface Common<D extends Scalar> {
  readonly doc: string;
  readonly required?: boolean;
  readonly default?: D;
}

/** `T` for a variable that is required or has a default, else `T | undefined`. */
export type Given<O, T> = O extends { readonly required: true } | { readonly default: {} } ? T : T | undefined;

interface Kind<T> {
  readonly expected: string;
  readonly example: string;
  readonly parse: (text: string) => T;
  readonly show?: (text: string) => string;
}

/** A variable of a kind. Its default is text and goes through `parse` too, so a bad one fails when it is declared. */
export function variable<O extends Common<Scalar>, T>(options: O, kind: Kind<T>): Variable<Given<O, T>> {
  const defaultText = options.default === undefined ? undefined : String(options.default);
  return {
    doc: options.doc,
    required: options.required ?? false,
    defaultText,
    expected: kind.expected,
    example: kind.example,
    show: kind.show ?? ((text) => text),
    parse: kind.parse,
    fallback: (defaultText === undefined ? undefined : parseDefault(defaultText, kind)) as Given<O, T>,
  };
}

function parseDefault<T>(text: string, kind: Kind<T>): T {
  try {
    return kind.parse(text);
  } catch (cause) {
    throw new TypeError(`The default ${text} is not ${kind.expected}.`, { cause });
  }
}
