/** One key's limit. */
export interface KeyLimit {
  /** In an error's message, such as `100 calls in 60000 ms`. */
  readonly what: string;
  /** 0: it was taken. Else how long until trying again may help, in milliseconds; Infinity: it never does. */
  readonly take: (cost: number) => number | Promise<number>;
  /** Forgetting it and making it again makes no difference. */
  readonly isFresh: () => boolean;
}
