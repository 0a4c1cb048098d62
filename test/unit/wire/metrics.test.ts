import { expect, test } from "vitest";
import { bytesMessage, type Tracking } from "../../../src/wire/message.ts";
import { operatorMetricsJson, pipelineMetricsJson, portMetricsJson } from "../../../src/wire/metrics.ts";
import { trackInputPort, trackOperator, trackOutputPort } from "../../../src/wire/tracking.ts";
import { readGolden } from "./golden.ts";

const { value_json_examples: examples } = readGolden<{ value_json_examples: Record<string, string> }>(
  "kv/address-and-values.json",
);
const id = "5bd6ef2a-91c0-4d7e-8000-000000000001";
const canonicalId = "5bd6ef2a-91c0-4d7e-8000-000000000002";

test("metrics before the first message equal interactEM's, byte for byte", () => {
  const timing = { beforeKernel: null, afterKernel: null, afterSend: null };
  expect(operatorMetricsJson({ canonicalId, id, timing })).toBe(examples.OperatorMetrics);
  const counts = { sendCount: 0, sendBytes: 0, recvCount: 0, recvBytes: 0 };
  expect(portMetricsJson({ ...counts, canonicalId, id })).toBe(examples.PortMetrics);
});

test("operator metrics read as they were seen on the wire", () => {
  const timing = {
    afterSend: "2026-11-22T11:39:30.755430",
    afterKernel: "2026-11-22T11:39:30.754824",
    beforeKernel: "2026-11-22T11:39:30.746434",
  };
  expect(operatorMetricsJson({ id, canonicalId, timing })).toBe(
    `{"id":"${id}","canonical_id":"${canonicalId}","timing":{"before_recv":null,` +
      '"before_kernel":"2026-11-22T11:39:30.746434","after_kernel":"2026-11-22T11:39:30.754824",' +
      '"after_send":"2026-11-22T11:39:30.755430"}}',
  );
});

test("every count of a port stands in its own place", () => {
  expect(
    portMetricsJson({ id, canonicalId, recvBytes: 2 ** 40, recvCount: 3, sendBytes: 116039, sendCount: 1 }),
  ).toBe(
    `{"id":"${id}","canonical_id":"${canonicalId}","send_count":1,"send_bytes":116039,"send_timeouts":0,` +
      '"recv_count":3,"recv_bytes":1099511627776,"recv_timeouts":0}',
  );
});

test("the way of a tracked message reads as it was seen on the wire", () => {
  const made = trackOperator(bytesMessage({}, new Uint8Array()), id, "T1", "T2");
  const received = trackInputPort(trackOutputPort(made, "out", "T3"), "in", "T4");
  const tracking: Tracking = Object.assign({ other: 1 }, received.header.tracking);
  expect(pipelineMetricsJson(tracking)).toBe(
    `{"metadatas":[{"id":"${id}","time_before_operate":"T1","time_after_operate":"T2"},` +
      '{"id":"out","time_before_send":"T3"},{"id":"in","time_after_header_validate":"T4"}]}',
  );
});
