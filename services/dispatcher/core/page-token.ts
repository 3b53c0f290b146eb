/** The place after which a page of tasks goes on. */
export interface TaskPlace {
  readonly segment: number;
  readonly taskKey: number;
}

export function toPageToken({ segment, taskKey }: TaskPlace): string {
  return Buffer.from(`${segment}.${taskKey}`).toString("base64url");
}

/** Undefined if the text is no token that `toPageToken` made. */
export function fromPageToken(token: string): TaskPlace | undefined {
  const match = /^(\d{1,9})\.(\d{1,16})$/.exec(Buffer.from(token, "base64url").toString("latin1"));
  if (match === null) return undefined;
  const place = { segment: Number(match[1]), taskKey: Number(match[2]) };
  return toPageToken(place) === token && Number.isSafeInteger(place.taskKey) ? place : undefined;
}
