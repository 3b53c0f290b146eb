export type JsonValue = null | boolean | number | string | JsonValue[] | { [name: string]: JsonValue };

export interface JsonObject {
  [name: string]: JsonValue;
}
