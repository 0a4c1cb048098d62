import { expect, test } from "vitest";
import {
  bucketStream,
  bucketSubject,
  imageSubject,
  operatorKey,
  parameterSubject,
  parameterUpdatesSubject,
  pipelineMetricsSubject,
  pipelineSubject,
  portKey,
  streams,
  tableSubject,
  triggersSubject,
} from "../../../src/wire/subjects.ts";

test("every subject and key reads as it was seen on the wire", () => {
  expect(streams).toEqual({
    deployments: "depl",
    parameters: "par",
    metrics: "met",
    images: "img",
    tables: "tbl",
  });
  expect([
    pipelineSubject("a1"),
    parameterSubject("b2", "crop_to_x"),
    parameterUpdatesSubject("b2"),
    triggersSubject("b2"),
    pipelineMetricsSubject,
    imageSubject("b2"),
    tableSubject("b2"),
    operatorKey("a1"),
    portKey("c3"),
    bucketStream("stat"),
    bucketSubject("met", portKey("c3")),
  ]).toEqual([
    "depl.op.a1",
    "par.op.b2.crop_to_x",
    "par.op.upd.b2.>",
    "trig.op.b2.>",
    "met.pipe",
    "img.b2",
    "tbl.b2",
    "op.a1",
    "port.c3",
    "KV_stat",
    "$KV.met.port.c3",
  ]);
});
