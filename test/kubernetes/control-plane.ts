import { generateKeyPairSync, randomBytes } from "node:crypto";
import { globSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../harness/free-ports.ts";
import { type Finished, finish } from "../harness/run-program.ts";
import { waitFor } from "../harness/wait-for.ts";
import { goTools } from "../tools/go-tools.ts";
import { foreignKinds, type KubernetesPrograms, kubernetesPrograms, kwokStages } from "../tools/kubernetes.ts";
import { Program } from "./program.ts";

// Who the control plane knows, and in which group: RBAC's own rules give each component what it needs.
const users = {
  admin: "system:masters",
  "system:kube-controller-manager": "",
  "system:kube-scheduler": "",
  kwok: "system:masters",
};
type User = keyof typeof users;

/**
 * Kubernetes without machines: etcd, the API server, controllers and the scheduler are real; nodes are simulated by kwok, and
 * so are pods, of which nothing runs. What they do instead stands in `stages/`; what the cluster has, in `cluster/`.
 */
export class ControlPlane implements AsyncDisposable {
  readonly #parts = new AsyncDisposableStack();
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #programs: KubernetesPrograms;
  readonly #helm: string;
  readonly #tokens: Record<string, string> = {};

  static async start(): Promise<ControlPlane> {
    const programs = await kubernetesPrograms();
    const helm = join(await goTools("helm"), "helm");
    const plane = new ControlPlane(await mkdtemp(join(tmpdir(), "legion-kubernetes-")), programs, helm);
    try {
      await plane.#start();
      return plane;
    } catch (error) {
      await plane[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(folder: string, programs: KubernetesPrograms, helm: string) {
    this.#parts.defer(() => rm(folder, { recursive: true, force: true }));
    this.#folder = folder;
    // Caches and settings of a home are this one's own, and no variable of a developer's shell says where another cluster is.
    this.#env = { PATH: process.env["PATH"], HOME: folder, KUBECONFIG: this.#config("admin") };
    this.#programs = programs;
    this.#helm = helm;
  }

  async kubectl(args: readonly string[], input?: string): Promise<Finished> {
    return await finish(this.#programs.kubectl, args, this.#run(input));
  }

  async helm(...args: readonly string[]): Promise<Finished> {
    return await finish(this.#helm, args, this.#run());
  }

  /** `kubectl` with what it writes to its standard output as it comes, until disposed. */
  follow(args: readonly string[], onText: (text: string) => void): Program {
    return new Program(this.#programs.kubectl, args, this.#env, onText);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }

  async #start(): Promise<void> {
    const [client, peer, secure] = (await freePorts(3)) as [number, number, number];
    const etcd = this.#startEtcd(`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`);
    await this.#whenReady(etcd, async () => (await fetch(`http://127.0.0.1:${client}/readyz`)).ok);
    await this.#writeFiles(secure);
    const server = this.#startServer(`http://127.0.0.1:${client}`, secure);
    await this.#whenReady(server, async () => (await this.kubectl(["get", "--raw", "/readyz"])).code === 0);
    const controllers = this.#startControllers();
    const scheduler = this.#startScheduler();
    const kwok = this.#startKwok([...(await kwokStages()), ...globSync(join(import.meta.dirname, "stages/*.yaml"))]);
    await this.#fill();
    for (const program of [controllers, scheduler, kwok]) program.assertRunning();
  }

  #startEtcd(client: string, peer: string): Program {
    return this.#program("etcd", {
      "data-dir": join(this.#folder, "etcd"),
      "listen-client-urls": client,
      "advertise-client-urls": client,
      "listen-peer-urls": peer,
      "initial-advertise-peer-urls": peer,
      "initial-cluster": `default=${peer}`,
      // What a crash of the machine would lose is thrown away in the end anyway.
      "unsafe-no-fsync": "true",
      "log-level": "error",
    });
  }

  #startServer(etcd: string, port: number): Program {
    return this.#program("kube-apiserver", {
      "etcd-servers": etcd,
      "bind-address": "127.0.0.1",
      "advertise-address": "127.0.0.1",
      "secure-port": String(port),
      "cert-dir": join(this.#folder, "certificates"),
      "token-auth-file": join(this.#folder, "tokens.csv"),
      "authorization-mode": "Node,RBAC",
      "service-cluster-ip-range": "10.96.0.0/16",
      "service-account-issuer": "https://kubernetes.default.svc",
      "service-account-key-file": join(this.#folder, "service-accounts.pub"),
      "service-account-signing-key-file": join(this.#folder, "service-accounts.key"),
      // It refuses to be known by a loopback address.
      "endpoint-reconciler-type": "none",
    });
  }

  #startControllers(): Program {
    return this.#program("kube-controller-manager", {
      ...this.#asComponent("system:kube-controller-manager"),
      "service-account-private-key-file": join(this.#folder, "service-accounts.key"),
      "root-ca-file": this.#authority,
      "use-service-account-credentials": "true",
      "horizontal-pod-autoscaler-sync-period": "1s",
    });
  }

  #startScheduler(): Program {
    return this.#program("kube-scheduler", this.#asComponent("system:kube-scheduler"));
  }

  #startKwok(stages: readonly string[]): Program {
    const options = {
      kubeconfig: this.#config("kwok"),
      "manage-all-nodes": "true",
      "node-lease-duration-seconds": "40",
    };
    return this.#program(
      "kwok",
      options,
      stages.map((file) => `--config=${file}`),
    );
  }

  #asComponent(user: User): Record<string, string> {
    const file = this.#config(user);
    return {
      kubeconfig: file,
      "authentication-kubeconfig": file,
      "authorization-kubeconfig": file,
      "leader-elect": "false",
      "secure-port": "0",
    };
  }

  #program(name: keyof KubernetesPrograms, options: Record<string, string>, more: readonly string[] = []): Program {
    const args = Object.entries(options).map(([option, value]) => `--${option}=${value}`);
    return this.#parts.use(new Program(this.#programs[name], [...args, ...more], this.#env));
  }

  async #whenReady(program: Program, condition: () => Promise<boolean>): Promise<void> {
    await waitFor(async () => program.hasEnded || (await condition()), {
      describe: () => `${program.name} to be ready:\n${program.output}`,
      timeoutMs: 120_000,
    });
    program.assertRunning();
  }

  async #writeFiles(port: number): Promise<void> {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const write = (name: string, text: string | Buffer): Promise<void> =>
      writeFile(join(this.#folder, name), text, { mode: 0o600 });
    await write("service-accounts.pub", publicKey.export({ type: "spki", format: "pem" }));
    await write("service-accounts.key", privateKey.export({ type: "pkcs8", format: "pem" }));
    for (const user of Object.keys(users)) this.#tokens[user] = randomBytes(16).toString("hex");
    const lines = Object.entries(users).map(([user, group]) => `${this.#tokens[user]},${user},${user},${group}\n`);
    await write("tokens.csv", lines.join(""));
    for (const user of Object.keys(users) as User[]) {
      await writeFile(this.#config(user), JSON.stringify(this.#kubeconfig(user, port)), { mode: 0o600 });
    }
    await mkdir(join(this.#folder, "certificates"));
  }

  #kubeconfig(user: User, port: number): object {
    const cluster = { server: `https://127.0.0.1:${port}`, "certificate-authority": this.#authority };
    return {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster }],
      users: [{ name: user, user: { token: this.#tokens[user] } }],
      contexts: [{ name: "test", context: { cluster: "test", user } }],
      "current-context": "test",
    };
  }

  /** The API server makes a certificate for itself. */
  get #authority(): string {
    return join(this.#folder, "certificates/apiserver.crt");
  }

  #config(user: User): string {
    return join(this.#folder, `${user.replace(":", "-")}.kubeconfig`);
  }

  #run(input = ""): { cwd: string; env: NodeJS.ProcessEnv; input: string } {
    return { cwd: this.#folder, env: this.#env, input };
  }

  async #fill(): Promise<void> {
    const files = [...globSync(join(import.meta.dirname, "cluster/*.yaml")), ...(await foreignKinds())];
    await this.#must("apply", "--server-side", ...files.map((file) => `--filename=${file}`));
    await this.#must("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=60s");
    await this.#must("wait", "customresourcedefinitions", "--all", "--for=condition=Established", "--timeout=60s");
  }

  async #must(...args: readonly string[]): Promise<void> {
    const { code, stdout, stderr } = await this.kubectl(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}${stdout}`);
  }
}
