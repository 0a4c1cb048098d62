import { afterAll } from "vitest";
import { type Backend, startBackend } from "./interactem-backend.ts";
import { type NatsServer, startNatsServer } from "./nats-server.ts";

/** A server with interactEM's streams for all tests of a file; both end with the file. */
export async function sharedNats(): Promise<{ readonly server: NatsServer; readonly backend: Backend }> {
  const server = await startNatsServer();
  const backend = await startBackend(server);
  afterAll(async () => {
    await backend.close();
    await server.close();
  });
  return { server, backend };
}
