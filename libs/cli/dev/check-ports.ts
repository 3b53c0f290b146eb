import { createServer } from "node:net";
import type { ServicePlan } from "./port-plan.ts";
import { StartError } from "./start-error.ts";

/**
 * Tries every port of the plan, on 127.0.0.1.
 * @throws StartError that names the first one that cannot be listened on, and who needs it.
 */
export async function checkPorts(services: readonly ServicePlan[]): Promise<void> {
  const wanted = services.flatMap(({ title, grpcPort, httpPort }) => [
    { port: grpcPort, user: `the ${title}'s gRPC` },
    { port: httpPort, user: `the ${title}'s HTTP` },
  ]);
  const problems = await Promise.all(wanted.map(({ port }) => listenProblem(port)));
  const first = problems.findIndex((problem) => problem !== undefined);
  if (first < 0) return;
  const { port, user } = wanted[first]!;
  const why =
    problems[first] === "EADDRINUSE" ? "is taken by another process" : `cannot be listened on (${problems[first]})`;
  throw new StartError(
    `Port ${port}, which ${user} needs, ${why}: choose other ports with --port-base N (N+1 to N+4 and N+11 to N+14 are used).`,
  );
}

function listenProblem(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(undefined)));
  });
}
