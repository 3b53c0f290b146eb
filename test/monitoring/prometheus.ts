import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../harness/free-ports.ts";
import { repositoryRoot } from "../harness/run-program.ts";
import { waitFor } from "../harness/wait-for.ts";
import { prometheusTools } from "../tools/prometheus.ts";

export const rulesFile = join(repositoryRoot, "helm/legion/rules/legion.yaml");

export interface Rule {
  readonly type: "alerting" | "recording";
  readonly name: string;
  readonly query: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: "pending" | "firing";
}

/** A real Prometheus with a folder of its own, gone with the test. */
export class Prometheus implements AsyncDisposable {
  readonly #address: string;
  readonly #end: () => Promise<void>;

  private constructor(address: string, end: () => Promise<void>) {
    this.#address = address;
    this.#end = end;
  }

  /** @param targets host:port of what it reads each second, and evaluates rules by. */
  static async start(ruleFiles: readonly string[], targets: readonly string[] = []): Promise<Prometheus> {
    const [port] = await freePorts(1);
    const folder = await mkdtemp(join(tmpdir(), "legion-prometheus-"));
    const config = {
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: ruleFiles,
      scrape_configs: [{ job_name: "legion", static_configs: [{ targets }] }],
    };
    await writeFile(join(folder, "prometheus.yml"), JSON.stringify(config));
    const address = `127.0.0.1:${port}`;
    const child = spawn(
      join(await prometheusTools(), "prometheus"),
      [
        `--config.file=${join(folder, "prometheus.yml")}`,
        `--storage.tsdb.path=${join(folder, "data")}`,
        `--web.listen-address=${address}`,
        "--log.level=error",
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    const kill = (): void => void child.kill("SIGKILL");
    process.once("exit", kill);
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    const ended = once(child, "exit");
    const end = async (): Promise<void> => {
      process.off("exit", kill);
      kill();
      await ended;
      await rm(folder, { recursive: true, force: true });
    };
    const prometheus = new Prometheus(`http://${address}`, end);
    try {
      await waitFor(async () => (await fetch(`http://${address}/-/ready`)).ok, {
        describe: () => `Prometheus; it said: ${said}`,
        timeoutMs: 60_000,
      });
    } catch (error) {
      await end();
      throw error;
    }
    return prometheus;
  }

  /** The `data` of an answer of its API. @throws with what Prometheus says when it refuses */
  async get<T>(path: string, parameters: Readonly<Record<string, string>> = {}): Promise<T> {
    const response = await fetch(`${this.#address}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`);
    const { status, data, error } = (await response.json()) as { status: string; data: T; error?: string };
    if (status !== "success") throw new Error(`${error} in ${JSON.stringify(parameters)}`);
    return data;
  }

  async rules(): Promise<Rule[]> {
    const { groups } = await this.get<{ groups: { rules: Rule[] }[] }>("rules");
    return groups.flatMap(({ rules }) => rules);
  }

  async alerts(): Promise<Alert[]> {
    return (await this.get<{ alerts: Alert[] }>("alerts")).alerts;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#end();
  }
}
