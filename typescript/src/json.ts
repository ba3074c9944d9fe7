/** JSON and text as Postgres stores them. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Fields = Readonly<Record<string, unknown>>;

/** Encode JSON: NaN as null, half a character as an escape, a bigint as its digits. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) => (typeof one === "bigint" ? `${one}` : one));
}

/** Replace what a text column refuses: NUL, and half a character. JSON keeps both, as escapes. */
export function storable(text: string): string {
  return text.replaceAll("\0", "\ufffd").replace(/\p{Surrogate}/gu, "?");
}

/** Return the fields that are neither undefined nor null: optional keys are absent in Babylon's. */
export function present(fields: Fields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null));
}

/** Read a field of anything; undefined where there is none. */
export function get(source: unknown, name: string): unknown {
  return typeof source === "object" && source !== null ? (source as Fields)[name] : undefined;
}

/** Read a list; empty where there is none. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Check a number; throws TypeError that names it. */
export function number(value: unknown, name: string): number {
  if (typeof value !== "number") {
    throw new TypeError(`${name} is ${typeof value}, not a number`);
  }
  return value;
}
