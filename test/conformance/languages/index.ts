import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Language, type LanguageName, languageNames } from "../language.ts";

/** A language by its name: what `<name>.ts` beside this file exports as `<name>`. */
export async function languageOf(name: LanguageName): Promise<Language> {
  const file = join(import.meta.dirname, `${name}.ts`);
  if (!existsSync(file)) return absent(name);
  const module = (await import(file)) as Readonly<Record<string, Language | undefined>>;
  const language = module[name];
  if (language === undefined) throw new Error(`${file} exports no ${name}.`);
  return language;
}

/** All five, those included that are not there. */
export function allLanguages(): Promise<Language[]> {
  return Promise.all(languageNames.map(languageOf));
}

function absent(name: LanguageName): Language {
  const why = `there is no test/conformance/languages/${name}.ts`;
  return { name, whyNot: () => why, prepare: () => Promise.reject(new Error(why)) };
}
