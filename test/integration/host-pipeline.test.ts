import { afterAll, beforeAll, expect, test } from "vitest";
import { chain, type Demo, prepareDemo } from "./support/demo.ts";
import { type Backend, startBackend } from "./support/interactem-backend.ts";
import { type NatsServer, startNatsServer } from "./support/nats-server.ts";

const replicas = 3;

let server: NatsServer;
let backend: Backend;
let demo: Demo;
beforeAll(async () => {
  server = await startNatsServer();
  backend = await startBackend(server);
  demo = await prepareDemo(server, backend, replicas);
});
afterAll(async () => {
  demo.close();
  await backend.close();
  await server.close();
});

test("started at once, as an agent does, the processes give the array of the local run and lose nothing", async () => {
  await demo.withDeployment(async (deployed) => {
    const { deployment, collected, processes } = deployed;
    const starts = chain.flatMap(({ label, runFile }, index) =>
      deployment.views(label).map(async (view) => {
        processes[index]!.push(await deployment.start(view, runFile, { COLLECTOR_FOLDER: collected }));
      }),
    );
    await Promise.all(starts);
    expect(processes.map(({ length }) => length)).toEqual([1, replicas, 1, 1]);
    await Promise.all(processes.flat().map((process) => process.status("running")));
    // So that the messages are shared among all replicas.
    await Promise.all(
      processes
        .slice(1)
        .flat()
        .map((process) => process.logged("connected")),
    );
    await demo.readNow(deployment);
    await demo.expectLocalResult(deployed);
    for (const { logs } of processes[1]!)
      expect(logs.findLast(({ msg }) => msg === "stopped")!.received).toBeGreaterThan(0);
  });
});

test("started from the sink on, with pipelines that come late and a trigger at once, they do so, too", async () => {
  await demo.withDeployment(async (deployed) => {
    const { deployment, collected, processes } = deployed;
    for (const [index, { label, runFile }] of [...chain.entries()].reverse()) {
      for (const view of deployment.views(label)) {
        const process = deployment.startUnpublished(view, runFile, { COLLECTOR_FOLDER: collected });
        processes[index]!.push(process);
        await process.logged("Connected to NATS");
        await deployment.publish(view);
        // The next one upstream is not even started before this one waits for it.
        if (index > 0) await process.logged("waiting for the addresses of upstream ports");
      }
    }
    await processes[0]![0]!.status("running");
    await demo.readNow(deployment);
    await demo.expectLocalResult(deployed);
  });
});
