/** Subjects, buckets and keys of interactEM that an operator uses. Ids are lower-case UUIDs with dashes. */

/** Streams that the backend makes. */
export const streams = {
  deployments: "depl",
  parameters: "par",
  metrics: "met",
  images: "img",
  tables: "tbl",
} as const;

/** Stations of a tracked message, from the last operator that it reached. */
export const pipelineMetricsSubject = `${streams.metrics}.pipe`;

/** The runtime pipeline of one operator process. */
export function pipelineSubject(operatorId: string): string {
  return `${streams.deployments}.op.${operatorId}`;
}

/** A parameter's value as the operator sees it. */
export function parameterSubject(canonicalId: string, name: string): string {
  return `${streams.parameters}.op.${canonicalId}.${name}`;
}

/** Requests to change a parameter of the operator, whatever its name. */
export function parameterUpdatesSubject(canonicalId: string): string {
  return `${streams.parameters}.op.upd.${canonicalId}.>`;
}

/** Requests to run a trigger of the operator, whatever its name. */
export function triggersSubject(canonicalId: string): string {
  return `trig.op.${canonicalId}.>`;
}

export function imageSubject(canonicalId: string): string {
  return `${streams.images}.${canonicalId}`;
}

export function tableSubject(canonicalId: string): string {
  return `${streams.tables}.${canonicalId}`;
}

/** Key of an operator process, in both buckets. */
export function operatorKey(operatorId: string): string {
  return `op.${operatorId}`;
}

/** Key of a runtime port, in both buckets. */
export function portKey(portId: string): string {
  return `port.${portId}`;
}

/** The stream that holds a bucket. */
export function bucketStream(bucket: string): string {
  return `KV_${bucket}`;
}

/** Where the values of a key are published; the key `>` stands for all of them. */
export function bucketSubject(bucket: string, key: string): string {
  return `$KV.${bucket}.${key}`;
}
