/** Times on the wire: ISO 8601 text, without a zone when it is local time, microseconds only when not 0. */

const microsecondsPerSecond = 1_000_000;
/** Times of the peer start in year 1 and end with year 9999. */
const firstEpochSecond = -62_135_596_800;
const endEpochSecond = 253_402_300_800;
/** A bare number above this counts milliseconds, below it seconds. */
const millisecondWatershed = 20_000_000_000;

let monotonicOrigin = performance.timeOrigin;

/** Milliseconds since 1970 with a microsecond fraction, which `Date.now` lacks. */
export function epochMilliseconds(): number {
  const wall = Date.now();
  const time = monotonicOrigin + performance.now();
  // The monotonic clock ignores clock corrections and may stop while the machine sleeps. `wall` is cut to whole ms.
  if (time >= wall - 1 && time < wall + 2) return time;
  monotonicOrigin += wall - time;
  return wall;
}

/** Formats milliseconds since 1970 (fractions allowed) as naive local time, e.g. `2025-03-04T05:06:07.089012`. */
export function wireTime(milliseconds: number = epochMilliseconds()): string {
  const microseconds = Math.round(milliseconds * 1000);
  const second = Math.floor(microseconds / microsecondsPerSecond);
  const minutesBehindUtc = new Date(second * 1000).getTimezoneOffset();
  return formatTime(second - minutesBehindUtc * 60, microseconds - second * microsecondsPerSecond);
}

/**
 * Reads a time in any spelling that interactEM accepts and returns it as interactEM writes it, or undefined if it is no
 * time. Text without a zone stays local time; a number, also as text, counts from 1970 in UTC.
 */
export function readWireTime(value: unknown): string | undefined {
  if (typeof value === "number") return readEpoch(value);
  if (typeof value !== "string") return undefined;
  if (/^[+-]?(\d+\.?\d*|\.\d+)$/.test(value)) return readEpoch(Number(value));
  return readIsoTime(value);
}

function readEpoch(value: number): string | undefined {
  const perSecond = Math.abs(value) > millisecondWatershed ? 1000 : 1;
  const second = Math.floor(value / perSecond);
  if (!(second >= firstEpochSecond && second < endEpochSecond)) return undefined;
  const microseconds = Math.round((value - second * perSecond) * (microsecondsPerSecond / perSecond));
  if (microseconds === microsecondsPerSecond) return `${formatTime(second + 1, 0)}Z`;
  return `${formatTime(second, microseconds)}Z`;
}

const isoTime =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt _](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?(?:[Zz]|([+\-\u2212]\d\d):?(\d\d))?)?$/;

function readIsoTime(text: string): string | undefined {
  const match = isoTime.exec(text);
  if (!match) return undefined;
  const [, year = "", month = "", day = "", hour = "00", minute = "00", second = "00"] = match;
  const [fraction = "", zoneHour, zoneMinute = ""] = match.slice(7);
  const date = `${year}-${month}-${day}`;
  if (!isCalendarDate(date) || hour > "23" || minute > "59" || second > "59") return undefined;
  const microseconds = formatFraction(Number(fraction.slice(0, 6).padEnd(6, "0")));
  const zone = zoneHour === undefined ? (/z$/i.test(text) ? "Z" : "") : formatZone(zoneHour, zoneMinute);
  return zone === undefined ? undefined : `${date}T${hour}:${minute}:${second}${microseconds}${zone}`;
}

function isCalendarDate(date: string): boolean {
  const time = Date.parse(date);
  // Date.parse takes 30 February for 1 March; the peer has no year 0.
  return date >= "0001" && !Number.isNaN(time) && new Date(time).toISOString().startsWith(date);
}

function formatZone(signedHour: string, minute: string): string | undefined {
  const hour = signedHour.slice(1);
  if (hour > "23" || minute > "59") return undefined;
  if (hour === "00" && minute === "00") return "Z";
  return `${signedHour.startsWith("+") ? "+" : "-"}${hour}:${minute}`;
}

function formatTime(epochSecond: number, microseconds: number): string {
  return `${new Date(epochSecond * 1000).toISOString().slice(0, 19)}${formatFraction(microseconds)}`;
}

function formatFraction(microseconds: number): string {
  return microseconds === 0 ? "" : `.${String(microseconds).padStart(6, "0")}`;
}
