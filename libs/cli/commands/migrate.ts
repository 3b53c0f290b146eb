import type { Command } from "commander";
import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import { migrate } from "#libs/db/migrate.ts";
import { maskUrl } from "#libs/config/mask-secrets.ts";
import { CliError, exitCodes } from "../cli-error.ts";
import { schemaMigrations } from "../dev/migrations.ts";
import { note, print, printJson } from "../terminal.ts";

const help = `
Reads DATABASE_URL. Every service's schema is brought to the newest migration;
nothing is ever taken back. Several may run at once: one works, the others wait
and find nothing to do.

Exit codes: 0 done, 1 a migration failed, 2 DATABASE_URL is missing or wrong,
3 database not reachable.`;

export function registerMigrate(program: Command): void {
  program
    .command("migrate")
    .summary("bring the database to the newest migrations")
    .description("Brings the database's schemas to the newest migrations.")
    .option("--json", "print one JSON document, for programs")
    .addHelpText("after", help)
    .action(async ({ json }: { json?: boolean }) => {
      const databaseUrl = readDatabaseUrl();
      const schemas: { name: string; applied: string[] }[] = [];
      for (const { schema, directory } of schemaMigrations()) {
        const applied = await applyTo(databaseUrl, { schema, directory, log: note });
        schemas.push({ name: schema, applied });
        if (!json) print(`${schema.padEnd(10)}  ${applied.length === 0 ? "up to date" : `${applied.length} applied`}`);
      }
      if (json) printJson({ schemas });
    });
}

function readDatabaseUrl(): string {
  const url = process.env["DATABASE_URL"]?.trim() ?? "";
  const example = "DATABASE_URL=postgres://user:password@127.0.0.1:5432/legion";
  if (url === "") throw new CliError(`DATABASE_URL is not set: expected for example ${example}.`, exitCodes.usage);
  if (!/^postgres(ql)?:\/\//.test(url) || URL.parse(url) === null) {
    throw new CliError(
      `DATABASE_URL=${maskUrl(url)} is no address of a Postgres: expected for example ${example}.`,
      exitCodes.usage,
    );
  }
  return url;
}

async function applyTo(databaseUrl: string, options: Parameters<typeof migrate>[1]): Promise<string[]> {
  try {
    return await migrate(databaseUrl, options);
  } catch (error) {
    const host = URL.parse(databaseUrl)?.host ?? "";
    if (!isConnectionFailure(error)) throw new CliError(refusalText(error, host));
    const why = error instanceof Error && error.message !== "" ? error.message : "no answer";
    throw new CliError(
      `The database at ${host} is not reachable (${why}): see that it runs and DATABASE_URL is right.`,
      exitCodes.unreachable,
    );
  }
}

/** With what to do about it, where Postgres's own words leave that out. */
function refusalText(error: unknown, host: string): string {
  const { code, message } = error instanceof Error ? (error as Error & { code?: unknown }) : { message: String(error) };
  switch (code) {
    case "28P01": // the password is wrong
    case "28000": // no such role, or pg_hba.conf does not let it in
    case "3D000": // no such database
      return `The database at ${host} refuses (${message}): see that DATABASE_URL is right.`;
    case "42501": // a right is missing
      return `${message}: the role must be allowed to create schemas (grant create on database … to …).`;
    default:
      return message;
  }
}
