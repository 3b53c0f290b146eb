// Round trips a second over one bidirectional stream between two processes: node test/bench/rpc-stream.ts [seconds]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { FrameBuffer } from "#libs/rpc/frames.ts";
import { createClient, GrpcChannel, openStream } from "#libs/rpc/grpc-client.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import { EchoService } from "../rpc/fixtures/gen/legiontest/v1/echo_pb.ts";
import type { PipeItem } from "../rpc/fixtures/gen/legiontest/v1/echo_pb.ts";

type Item = Pick<PipeItem, "id" | "data">;
const sizeOf = (item: Item) => item.data.length + 8;

if (process.argv[2] === "serve") await serve();
else await measure(Number(process.argv[2] ?? 3));

async function serve(): Promise<void> {
  const server = new GrpcServer({ host: "127.0.0.1", port: 0, log: console });
  server.mount(EchoService, { echo: ({ text }) => ({ text }) });
  server.mountStream(EchoService.method.pipe, (stream, { requestHeader }) => {
    if (requestHeader.get("x-pack") === null) {
      stream.onMessage(({ items }) => stream.write({ items }));
      return;
    }
    const out = new FrameBuffer<Item>({ write: (items) => stream.write({ items }), sizeOf });
    stream.onDrain(() => out.drained());
    stream.onMessage(({ items }) => items.forEach((item) => out.push(item)));
  });
  console.log(await server.listen());
}

async function measure(seconds: number): Promise<void> {
  const child = spawn(process.execPath, [import.meta.filename, "serve"], { stdio: ["ignore", "pipe", "inherit"] });
  const [port] = await once(createInterface(child.stdout), "line");
  await using channel = new GrpcChannel(`127.0.0.1:${port}`);
  try {
    await unary(channel, 64, 1);
    report("unary, 64 outstanding", await unary(channel, 64, seconds));
    for (const outstanding of [1, 256]) {
      report(`stream, 1 item a frame, ${outstanding} outstanding`, await plain(channel, outstanding, seconds));
    }
    for (const outstanding of [256, 1000]) {
      report(`stream, FrameBuffer, ${outstanding} outstanding`, await packed(channel, outstanding, seconds));
    }
  } finally {
    child.kill();
  }
}

async function unary(channel: GrpcChannel, outstanding: number, seconds: number): Promise<number> {
  const client = createClient(EchoService, channel);
  const until = performance.now() + seconds * 1000;
  let done = 0;
  const caller = async () => {
    for (; performance.now() < until; done += 1) await client.echo({ text: "x".repeat(200) });
  };
  await Promise.all(Array.from({ length: outstanding }, caller));
  return done / seconds;
}

async function plain(channel: GrpcChannel, outstanding: number, seconds: number): Promise<number> {
  const stream = openStream(channel, EchoService.method.pipe);
  const data = new Uint8Array(200);
  let done = 0;
  stream.onMessage(({ items }) => {
    done += 1;
    stream.write({ items });
  });
  for (let id = 0; id < outstanding; id += 1) stream.write({ items: [{ id, data }] });
  const rate = await rateOf(() => done, seconds);
  stream.end();
  return rate;
}

async function packed(channel: GrpcChannel, outstanding: number, seconds: number): Promise<number> {
  const stream = openStream(channel, EchoService.method.pipe, { headers: { "x-pack": "1" } });
  const data = new Uint8Array(200);
  const out = new FrameBuffer<Item>({ write: (items) => stream.write({ items }), sizeOf });
  stream.onDrain(() => out.drained());
  let done = 0;
  stream.onMessage(({ items }) => {
    done += items.length;
    items.forEach((item) => out.push(item));
  });
  for (let id = 0; id < outstanding; id += 1) out.push({ id, data });
  const rate = await rateOf(() => done, seconds);
  stream.end();
  return rate;
}

/** Leaves out the first half second. */
async function rateOf(count: () => number, seconds: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 500));
  const before = count();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  return (count() - before) / seconds;
}

function report(what: string, perSecond: number): void {
  console.log(`${what.padEnd(44)} ${Math.round(perSecond).toLocaleString("en").padStart(9)} round trips/s`);
}
