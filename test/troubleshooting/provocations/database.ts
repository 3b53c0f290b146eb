import { Client } from "pg";
import { freePorts } from "../../harness/free-ports.ts";
import { serviceNames, startMesh } from "../../harness/mesh.ts";
import { ownPostgres, testDatabase } from "../../harness/postgres.ts";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { migrateAll } from "#libs/cli/dev/migrations.ts";
import type { Running } from "../shell.ts";
import type { Provocation, Stage } from "../stage.ts";

const shownUrl = "postgres://legion:secret@127.0.0.1:5432/legion";
const wrongUrl = "postgres://legion:wrong@127.0.0.1:5432/legion";
const misspeltUrl = "postgres://legion:secret@127.0.0.1:5432/legoin";

type Registry = Running & { readonly grpcAddress: string; readonly httpAddress: string };

/** Starts the Registry by its command, on free ports. */
export async function registryOn(stage: Stage, url: string, more = "", shown = shownUrl): Promise<Registry> {
  const [grpc = 0, http = 0] = await freePorts(2);
  const { shell } = stage;
  shell.alias(`BIND_HOST=127.0.0.1 GRPC_PORT=${grpc} HTTP_PORT=${http} `, "");
  shell.alias(grpc, 7401);
  shell.alias(http, 7411);
  showUrl(stage, url, shown);
  const registry = shell.start(
    `BIND_HOST=127.0.0.1 GRPC_PORT=${grpc} HTTP_PORT=${http} ${more}DATABASE_URL=${url} node services/registry/main.ts`,
  );
  return Object.assign(registry, { grpcAddress: `127.0.0.1:${grpc}`, httpAddress: `http://127.0.0.1:${http}` });
}

function showUrl({ shell }: Stage, url: string, shown = shownUrl): void {
  const { host, port } = new URL(url);
  shell.alias(url, shown);
  shell.alias(host, "127.0.0.1:5432");
  shell.alias(`"port":${port}`, '"port":5432');
}

/** The same, with a DATABASE_URL that Postgres refuses, and that of which it is a distortion. */
async function refusedBy(stage: Stage, distort: (url: URL) => void, shown: string): Promise<void> {
  const { shell } = stage;
  const { connectionString } = stage.use(await testDatabase());
  const url = new URL(connectionString);
  distort(url);
  const registry = await registryOn(stage, url.href, "", shown);
  await registry.ended;
  await shell.run(`DATABASE_URL=${url.href} legion migrate`);
  showUrl(stage, connectionString);
  await shell.run(`DATABASE_URL=${connectionString} legion migrate`);
}

const wrongPassword: Provocation = (stage) => refusedBy(stage, (url) => (url.password = "wrong"), wrongUrl);
const noDatabase: Provocation = (stage) => refusedBy(stage, (url) => (url.pathname = "/legoin"), misspeltUrl);

const away: Provocation = async (stage) => {
  const postgres = stage.use(await ownPostgres());
  await migrateAll(postgres.connectionString);
  await postgres.stop();
  const registry = await registryOn(stage, postgres.connectionString);
  await registry.prints(/waiting/);
  await stage.shell.run(`curl -sS ${registry.httpAddress}/readyz`);
  await stage.shell.run(`DATABASE_URL=${postgres.connectionString} legion migrate`);
  await postgres.restart();
  await registry.prints(/listening/);
  await registry.stop("SIGTERM");
};

const lost: Provocation = async (stage) => {
  const postgres = stage.use(await ownPostgres());
  const mesh = stage.enter(stage.use(await startMesh({ postgres, agents: true })));
  await postgres.stop();
  const { shell } = stage;
  await shell.until(`curl -sS ${mesh.dispatcher.httpAddress}/readyz`, /database/);
  const submit = `legion submit greet '{"name":"Ada"}' --task-id again`;
  await shell.run(submit);
  await postgres.restart();
  await shell.until(`curl -sS ${mesh.dispatcher.httpAddress}/readyz`, /ready/);
  await shell.run(submit);
  await shell.until("legion get again", /COMPLETED/);
};

const notMigrated: Provocation = async (stage) => {
  const database = stage.use(await testDatabase());
  const registry = await registryOn(stage, database.connectionString);
  await registry.prints(/waiting/);
  await stage.shell.run(`curl -sS ${registry.httpAddress}/readyz`);
  stage.shell.env["DATABASE_URL"] = database.connectionString;
  await stage.shell.run("legion migrate");
  await registry.prints(/listening/);
  await registry.stop("SIGTERM");
};

const newerSchema: Provocation = async (stage) => {
  const database = stage.use(await testDatabase());
  await migrateAll(database.connectionString);
  await execute(database.connectionString, "insert into registry.migrations values ('0099_later.sql', '')");
  stage.shell.env["DATABASE_URL"] = database.connectionString;
  await stage.shell.run("legion migrate");
  const registry = await registryOn(stage, database.connectionString);
  await registry.prints(/listening/);
  await registry.stop("SIGTERM");
};

const noRight: Provocation = async (stage) => {
  const { shell } = stage;
  const { connectionString } = stage.use(await testDatabase());
  const own = await ownRole(stage, connectionString);
  const name = own.username;
  shell.alias(name, "legion");
  shell.env["DATABASE_URL"] = own.href;
  await shell.run("legion migrate");
  await stage.sql(connectionString, `grant create on database ${name} to ${name}`);
  await shell.run("legion migrate");
};

const tooMany: Provocation = async (stage) => {
  const directory = await stage.directory("data");
  // Of these Postgres keeps three for superusers.
  const settings = { max_connections: "8" };
  const { connectionString } = stage.use(await startEmbeddedPostgres({ dataDir: directory, settings }));
  await migrateAll(connectionString);
  const own = await ownRole(stage, connectionString);
  for (const schema of serviceNames) {
    await execute(connectionString, `grant all on schema ${schema} to legion`);
    await execute(connectionString, `grant all on all tables in schema ${schema} to legion`);
  }
  const others = Array.from({ length: 5 }, () => {
    const client = new Client({ connectionString: own.href, application_name: "legion-dispatcher" });
    client.on("error", () => {});
    return client;
  });
  await Promise.all(others.map((other) => other.connect()));
  const registry = await registryOn(stage, own.href);
  await registry.prints(/waiting/);
  await stage.sql(connectionString, "show max_connections");
  const count = "select application_name, count(*) from pg_stat_activity where usename = 'legion' group by 1";
  await stage.sql(connectionString, count);
  await Promise.all(others.map((other) => other.end()));
  await registry.prints(/listening/);
  await registry.stop("SIGTERM");
};

/** A role of the name of the database, or `legion`, that may log in and do nothing else. */
async function ownRole(stage: Stage, connectionString: string): Promise<URL> {
  const own = new URL(connectionString);
  const database = own.pathname.slice(1);
  own.username = database === "postgres" ? "legion" : database;
  own.password = "secret";
  await execute(connectionString, `create role ${own.username} login password 'secret'`);
  if (database !== "postgres") {
    stage.defer(async () => {
      await execute(connectionString, `drop owned by ${own.username} cascade`);
      await execute(connectionString, `drop role ${own.username}`);
    });
  }
  return own;
}

async function execute(connectionString: string, text: string): Promise<void> {
  const client = new Client({ connectionString });
  await client.connect();
  await client.query(text);
  await client.end();
}

export const database = {
  "wrong-password": wrongPassword,
  "no-database": noDatabase,
  "postgres-away": away,
  "postgres-lost": lost,
  "not-migrated": notMigrated,
  "newer-schema": newerSchema,
  "no-right": noRight,
  "too-many-connections": tooMany,
};
