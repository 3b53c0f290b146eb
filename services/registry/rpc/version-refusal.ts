import type { ConnectError } from "@connectrpc/connect";
import { legionError } from "#libs/rpc/errors.ts";
import type { Refusal } from "../core/rollout.ts";
import type { VersionKey } from "../engine/weights.ts";

/** A refusal for the caller. */
export function versionRefusal(refusal: Refusal, { namespace, name, version }: VersionKey): ConnectError {
  return legionError(refusal, sentences[refusal](`version ${version} of ${name}`, namespace), {
    metadata: { namespace, name, version },
  });
}

const sentences: Record<Refusal, (which: string, namespace: string) => string> = {
  VERSION_NOT_FOUND: (which, namespace) => `No agent of ${which} was ever seen in ${namespace}.`,
  VERSION_CHANGED: (which) => `Something else was decided about ${which} meanwhile.`,
  VERSION_BARRED: (which) => `The ${which} is barred: it gets no work until somebody promotes it.`,
  LAST_HEALTHY_VERSION: (which) =>
    `Nothing but ${which} can do its work: no other version that may have it has a session. Nothing was changed.`,
};
