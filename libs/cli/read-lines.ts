export interface InputLine {
  /** From 1, blank lines counted. */
  readonly number: number;
  /** Without its end; only the beginning if it is `tooLong`. */
  readonly bytes: Buffer;
  readonly tooLong: boolean;
  /** Where the next line begins, in bytes from the start of the input. */
  readonly endOffset: number;
}

// Longer than anything that can be sent; what is beyond it is skipped up to the line's end, not kept.
const maxLineBytes = 4 * 1024 * 1024;
const newline = 0x0a;
const carriageReturn = 0x0d;
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

/** The lines of a stream that are not blank, all of one chunk at a time: a promise for each would cost more than the rest. */
export async function* readLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<InputLine[], void> {
  let number = 0;
  let offset = 0;
  let parts: Buffer[] = [];
  let length = 0;
  const finish = (lines: InputLine[]): void => {
    number++;
    let bytes = parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts);
    if (number === 1 && bytes.subarray(0, 3).equals(byteOrderMark)) bytes = bytes.subarray(3);
    if (bytes.at(-1) === carriageReturn) bytes = bytes.subarray(0, -1);
    if (!isBlank(bytes)) lines.push({ number, bytes, tooLong: length > maxLineBytes, endOffset: offset });
    parts = [];
    length = 0;
  };
  const extend = (part: Buffer): void => {
    if (length <= maxLineBytes) parts.push(part);
    length += part.length;
  };
  for await (const chunk of chunks) {
    const lines: InputLine[] = [];
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      extend(chunk.subarray(start, end));
      offset += end + 1 - start;
      start = end + 1;
      finish(lines);
    }
    if (start < chunk.length) {
      extend(chunk.subarray(start));
      offset += chunk.length - start;
    }
    if (lines.length > 0) yield lines;
  }
  const last: InputLine[] = [];
  if (length > 0) finish(last);
  if (last.length > 0) yield last;
}

function isBlank(bytes: Buffer): boolean {
  // Space, tab and the rest of what JSON calls white space.
  for (const byte of bytes) if (byte !== 0x20 && byte !== 0x09 && byte !== carriageReturn) return false;
  return true;
}
