import type { Tracking } from "./message.ts";

/** Values of the bucket `met`, and what is published of tracked messages. Ids are runtime ids unless called canonical. */

export interface OperatorMetrics {
  readonly id: string;
  readonly canonicalId: string;
  /** Wire times of the last tracked message, null before there was one. */
  readonly timing: {
    readonly beforeKernel: string | null;
    readonly afterKernel: string | null;
    readonly afterSend: string | null;
  };
}

export function operatorMetricsJson({ id, canonicalId, timing }: OperatorMetrics): string {
  return JSON.stringify({
    id,
    canonical_id: canonicalId,
    timing: {
      // No operator of interactEM ever sets it.
      before_recv: null,
      before_kernel: timing.beforeKernel,
      after_kernel: timing.afterKernel,
      after_send: timing.afterSend,
    },
  });
}

/** Messages of a port since the start; bytes are the sums of all their parts. */
export interface PortMetrics {
  readonly id: string;
  readonly canonicalId: string;
  readonly sendCount: number;
  readonly sendBytes: number;
  readonly recvCount: number;
  readonly recvBytes: number;
}

export function portMetricsJson(port: PortMetrics): string {
  return JSON.stringify({
    id: port.id,
    canonical_id: port.canonicalId,
    send_count: port.sendCount,
    send_bytes: port.sendBytes,
    send_timeouts: 0,
    recv_count: port.recvCount,
    recv_bytes: port.recvBytes,
    recv_timeouts: 0,
  });
}

/** The whole way of a tracked message, for `met.pipe`. */
export function pipelineMetricsJson({ metadatas }: Tracking): string {
  return JSON.stringify({ metadatas });
}
