import { after, before, test } from "node:test";
import { chapters } from "./behaviours/index.ts";
import type { LanguageName, Programs } from "./language.ts";
import { languageOf } from "./languages/index.ts";
import { Trial } from "./trial.ts";
import { World } from "./world.ts";

/** Tries all behaviours with the agent and the client of a language, as tests of node:test. */
export async function conformance(name: LanguageName): Promise<void> {
  const language = await languageOf(name);
  const skip = language.whyNot();
  if (skip !== undefined) console.error(`SKIPPED: ${name} is not tried, for ${skip}`);

  const stack = new AsyncDisposableStack();
  let programs: Programs;
  let world: World;
  before(async () => {
    if (skip !== undefined) return;
    programs = await language.prepare();
    world = stack.use(await World.start());
  });
  after(() => stack.disposeAsync());

  for (const behaviour of Object.values(chapters).flat()) {
    test(behaviour.name, { ...(skip !== undefined && { skip }), timeout: 90_000 }, async () => {
      await using trial = new Trial(name, programs, world);
      await behaviour.run(trial);
    });
  }
}
