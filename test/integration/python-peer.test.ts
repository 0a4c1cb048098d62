import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { readNpz } from "../../src/distiller/npz.ts";
import { startBackend } from "./support/interactem-backend.ts";
import { startNatsServer } from "./support/nats-server.ts";
import { endOf, operator, singleOperator } from "./support/single-operator.ts";

const batch = fileURLToPath(new URL("../golden/batches/missing-positions/", import.meta.url));
const script = fileURLToPath(new URL("support/python_peer.py", import.meta.url));

test("center-of-mass-partial stands between a Python source and a Python sink, which read what it sends", async () => {
  const server = await startNatsServer();
  const backend = await startBackend(server);
  onTestFinished(async () => {
    await backend.close();
    await server.close();
  });
  const single = singleOperator(server, backend);
  const python = spawn("/usr/bin/python3", [script, batch], { stdio: ["pipe", "pipe", "pipe"] });
  onTestFinished(() => void python.kill("SIGKILL"));
  const errors = text(python.stderr);
  const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the Python peer ended: ${await errors}`);
    return value as string;
  };

  await single.deployment.announceOutput(single.upstreamId, Number(await nextLine()));
  const process = await single.run(operator("center-of-mass-partial"));
  python.stdin.end(`${await single.deployment.addressOf(single.outputId)}\n`);
  const answer = JSON.parse(await nextLine());

  const partial = `${batch}partial/5ee01d40ff/`;
  expect(answer.header).toEqual({ subject: "bytes", tracking: null });
  expect(answer.meta).toEqual(JSON.parse(readFileSync(`${partial}part1.json`, "utf8")));
  const { com } = readNpz(readFileSync(`${partial}part2.npz`));
  expect(answer.arrays.com).toEqual(["float32", com!.shape]);
  expect(answer.arrays.count).toEqual(["uint32", com!.shape.slice(1)]);
  const { buffer, byteOffset, byteLength } = com!.data;
  expect(answer.com).toBe(Buffer.from(buffer, byteOffset, byteLength).toString("hex"));
  expect((await endOf(process, "SIGTERM")).counts).toMatchObject({ received: 1, sent: 1, unsentAtMost: 0 });
});
