import { describe, expect, it } from "vitest";
import { bytesMessage, type Tracking } from "../../../src/wire/message.ts";
import { trackInputPort, trackOperator, trackOutputPort, withTracking } from "../../../src/wire/tracking.ts";

const untracked = bytesMessage({ a: 1 }, Uint8Array.of(1));
const started = withTracking(untracked, { metadatas: [] });

describe("tracking", () => {
  it("collects the stations in order", () => {
    const sent = trackOutputPort(trackOperator(started, "op", "T1", "T2"), "out", "T3");
    const received = trackInputPort(sent, "in", "T4");
    expect(received.header.tracking).toEqual({
      metadatas: [
        { id: "op", time_before_operate: "T1", time_after_operate: "T2" },
        { id: "out", time_before_send: "T3" },
        { id: "in", time_after_header_validate: "T4" },
      ],
    });
  });

  it("starts at the operator only", () => {
    expect(trackInputPort(untracked, "in", "T")).toBe(untracked);
    expect(trackOutputPort(untracked, "out", "T")).toBe(untracked);
    expect(trackOperator(untracked, "op", "T1", "T2").header.tracking?.metadatas).toHaveLength(1);
  });

  it("does not change the message it is given", () => {
    const metadatas = Object.freeze([]);
    const tracking: Tracking = Object.freeze({ metadatas });
    const message = withTracking(untracked, tracking);
    const tracked = trackInputPort(message, "in", "T");
    expect(message.header.tracking).toBe(tracking);
    expect(tracked.header.meta).toBe(message.header.meta);
    expect(tracked.data).toBe(message.data);
  });

  it("continues the list of another message", () => {
    const incoming = trackInputPort(started, "in", "T1");
    const outgoing = trackOperator(withTracking(untracked, incoming.header.tracking), "op", "T2", "T3");
    expect(outgoing.header.tracking?.metadatas.map(({ id }) => id)).toEqual(["in", "op"]);
  });
});
