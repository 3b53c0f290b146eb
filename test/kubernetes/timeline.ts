import { waitFor } from "../harness/wait-for.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Namespace } from "./namespace.ts";
import { type KubeObject, namedBy, type Pod } from "./objects.ts";

const paths = {
  Pod: "/api/v1",
  Secret: "/api/v1",
  ConfigMap: "/api/v1",
  Job: "/apis/batch/v1",
  Deployment: "/apis/apps/v1",
};
type Kind = keyof typeof paths;

export interface Entry<T extends KubeObject> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: T;
  /** Its place in the order of all changes, of every kind. */
  readonly at: bigint;
}

/** Every state that objects of a namespace were in, also of those that are gone again. */
export class Timeline implements AsyncDisposable {
  readonly #parts = new AsyncDisposableStack();
  readonly #entries: Entry<KubeObject>[] = [];

  /** Of a namespace made just now: from its own creation on. */
  static async of(plane: ControlPlane, namespace: Namespace): Promise<Timeline> {
    const { metadata } = await namespace.get("namespace", namespace.name);
    const timeline = new Timeline();
    for (const kind of Object.keys(paths) as Kind[]) {
      const path = `${paths[kind]}/namespaces/${namespace.name}/${kind.toLowerCase()}s`;
      timeline.#watch(plane, `${path}?watch=1&resourceVersion=${metadata.resourceVersion}`);
    }
    return timeline;
  }

  /** All states of the kind, in their order. */
  of<T extends KubeObject>(kind: Kind): Entry<T>[] {
    const entries = this.#entries.filter(({ object }) => object.kind === kind) as Entry<T>[];
    return entries.toSorted((a, b) => (a.at < b.at ? -1 : 1));
  }

  /** The first state that fulfils this; watching lags a little behind. */
  async first<T extends KubeObject>(kind: Kind, is: (entry: Entry<T>) => boolean, describe: string): Promise<Entry<T>> {
    return await waitFor(() => this.of<T>(kind).find(is), { describe });
  }

  /**
   * Waits until it is seen that every pod began after the Secrets and ConfigMaps it names: without them a kubelet would wait,
   * and Helm for the pod.
   */
  async nothingMissing(): Promise<void> {
    await waitFor(() => this.#missing().length === 0, {
      describe: () => `pods to have what they name: ${this.#missing().join(", ")}`,
    });
  }

  #missing(): string[] {
    return this.of<Pod>("Pod")
      .filter(({ type }) => type === "ADDED")
      .flatMap(({ object, at }) => {
        const missing = namedBy(object).filter((named) => !this.#isThere(named, at));
        return missing.map((named) => `${object.metadata.name} ${named}`);
      });
  }

  #isThere(kindAndName: string, at: bigint): boolean {
    const [kind, name] = kindAndName.split("/") as [Kind, string];
    const states = this.of(kind).filter((entry) => entry.object.metadata.name === name && entry.at < at);
    return states.length > 0 && states.at(-1)!.type !== "DELETED";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }

  #watch(plane: ControlPlane, path: string): void {
    let rest = "";
    const onText = (text: string): void => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const { type, object } = JSON.parse(line) as Entry<KubeObject>;
        this.#entries.push({ type, object, at: BigInt(object.metadata.resourceVersion) });
      }
    };
    this.#parts.use(plane.follow(["get", "--raw", path], onText));
  }
}
