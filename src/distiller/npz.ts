import { constants, crc32, inflateRawSync } from "node:zlib";
import { WireError } from "../errors.ts";

export type NpzData =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** One array of an archive, row-major and little-endian in memory whatever the file held. */
export interface NpzArray {
  /** Slowest axis first; empty for a scalar. */
  readonly shape: readonly number[];
  /** Type of the elements as numpy writes it in this byte order: `<f4`, `<u4`, `|u1`, ... */
  readonly dtype: string;
  /** As many elements as the shape says. */
  readonly data: NpzData;
}

interface ElementType {
  readonly dtype: string;
  readonly bytes: number;
  readonly view: (buffer: ArrayBuffer) => NpzData;
}

const elementTypes: readonly ElementType[] = [
  { dtype: "|i1", bytes: 1, view: (buffer) => new Int8Array(buffer) },
  { dtype: "|u1", bytes: 1, view: (buffer) => new Uint8Array(buffer) },
  { dtype: "<i2", bytes: 2, view: (buffer) => new Int16Array(buffer) },
  { dtype: "<u2", bytes: 2, view: (buffer) => new Uint16Array(buffer) },
  { dtype: "<i4", bytes: 4, view: (buffer) => new Int32Array(buffer) },
  { dtype: "<u4", bytes: 4, view: (buffer) => new Uint32Array(buffer) },
  { dtype: "<i8", bytes: 8, view: (buffer) => new BigInt64Array(buffer) },
  { dtype: "<u8", bytes: 8, view: (buffer) => new BigUint64Array(buffer) },
  { dtype: "<f4", bytes: 4, view: (buffer) => new Float32Array(buffer) },
  { dtype: "<f8", bytes: 8, view: (buffer) => new Float64Array(buffer) },
];

const localSignature = 0x04034b50;
const centralSignature = 0x02014b50;
const endSignature = 0x06054b50;
const zip64EndSignature = 0x06064b50;
const zip64LocatorSignature = 0x07064b50;
const localBytes = 30;
const centralBytes = 46;
const endBytes = 22;
const zip64EndBytes = 56;
const zip64LocatorBytes = 20;
const longestZipComment = 0xffff;
const wide = 0xffffffff;
const encryptedFlag = 1;
const stored = 0;
const deflated = 8;
/** Deflate cannot expand its input more than this. */
const largestDeflateRatio = 1032;
const npyMagic = Buffer.from("\x93NUMPY", "latin1");
/** Longest array header numpy reads without being told to trust the file. */
const longestNpyHeader = 10_000;

/**
 * What a member says of its array: `dtype` as in `NpzArray`, or in numpy's words for a type that is not read. A member that is
 * no array, or one of a kind that is not read, has the `dtype` "" and no axes.
 */
export type NpzMember = Pick<NpzArray, "shape" | "dtype"> & { readonly name: string };

/**
 * Reads the arrays of a NumPy `.npz` archive: stored or deflated members, zip64, npy versions 1 to 3, either byte order,
 * C or Fortran order, integers of 1 to 8 bytes, float32 and float64.
 *
 * @param bytes the archive; not kept, the arrays are copies that the caller owns.
 * @param only names to read, without `.npy`; other members are not looked at. Or a choice among all members. All of
 *   them by default.
 * @returns arrays by member name without `.npy`. A name asked for and not in the archive is absent.
 * @throws WireError `STEMLINE_NPZ_INVALID` where numpy's reader refuses the archive or a checksum is wrong.
 * Source: recorded numpy 2.2 behaviour in test/golden/npz; PKWARE APPNOTE 6.3; numpy's npy format description.
 */
export function readNpz(
  bytes: Uint8Array,
  only?: readonly string[] | ((member: NpzMember) => boolean),
): Record<string, NpzArray> {
  const archive = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const arrays: Record<string, NpzArray> = Object.create(null);
  for (const entry of readDirectory(archive)) {
    const name = arrayName(entry);
    if (typeof only === "object" && !only.includes(name)) continue;
    const file = readMember(archive, entry);
    if (typeof only === "function" && !only(describeMember(file, name))) continue;
    arrays[name] = readNpy(file, entry.name);
  }
  return arrays;
}

/**
 * Writes a `.npz` archive of uncompressed arrays, byte for byte as numpy's `savez` does for the same arrays.
 *
 * @param arrays by name without `.npy`, in the order in which they are to be written; each holds as many elements as its
 *   shape says.
 * @returns a new buffer that the caller owns.
 * @throws WireError `STEMLINE_NPZ_INVALID` if an array and its shape disagree or the archive would reach 4 GiB.
 * Source: recorded archives in test/golden/npz/layout.json.
 */
export function writeNpz(
  arrays: Readonly<Record<string, { readonly shape: readonly number[]; readonly data: NpzData }>>,
): Buffer {
  const members = Object.entries(arrays).map(([name, array]) => {
    const header = npyHeader(name, array.shape, array.data);
    const data = Buffer.from(array.data.buffer, array.data.byteOffset, array.data.byteLength);
    return { name: Buffer.from(`${name}.npy`), header, data, bytes: header.length + data.length };
  });
  const zip64Extra = 20;
  const total = members.reduce(
    (sum, { name, bytes }) => sum + localBytes + centralBytes + zip64Extra + 2 * name.length + bytes,
    endBytes,
  );
  if (total >= wide) throw invalid(`expected less than 4 GiB to write, got ${total} bytes`);

  const out = Buffer.allocUnsafe(total);
  const central: Buffer[] = [];
  let at = 0;
  for (const { name, header, data, bytes } of members) {
    const offset = at;
    // numpy opens every member for streaming, so the local header carries zip64 sizes; the directory does not need them.
    const local = Buffer.alloc(localBytes + zip64Extra);
    local.writeUInt32LE(localSignature, 0);
    local.writeUInt16LE(zip64Extra, 28);
    local.writeUInt16LE(1, localBytes);
    local.writeUInt16LE(16, localBytes + 2);
    local.writeBigUInt64LE(BigInt(bytes), localBytes + 4);
    local.writeBigUInt64LE(BigInt(bytes), localBytes + 12);
    const content = at + local.length + name.length;
    header.copy(out, content);
    data.copy(out, content + header.length);
    const checksum = crc32(out.subarray(content, content + bytes));
    writeCommonFields(local, 4, checksum, wide, wide, name.length);
    local.copy(out, at, 0, localBytes);
    name.copy(out, at + localBytes);
    local.copy(out, at + localBytes + name.length, localBytes);
    at = content + bytes;

    const entry = Buffer.alloc(centralBytes);
    entry.writeUInt32LE(centralSignature, 0);
    entry.writeUInt16LE(0x032d, 4);
    writeCommonFields(entry, 6, checksum, bytes, bytes, name.length);
    entry.writeUInt32LE(0x01800000, 38);
    entry.writeUInt32LE(offset, 42);
    central.push(entry, name);
  }
  const directory = at;
  for (const part of central) at += part.copy(out, at);
  const end = Buffer.alloc(endBytes);
  end.writeUInt32LE(endSignature, 0);
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(at - directory, 12);
  end.writeUInt32LE(directory, 16);
  end.copy(out, at);
  return out;
}

/** Fields that a local header and a directory entry have in common: version needed 4.5, no flags, stored, 1980-01-01. */
function writeCommonFields(
  record: Buffer,
  at: number,
  checksum: number,
  compressedBytes: number,
  bytes: number,
  nameLength: number,
): void {
  record.writeUInt16LE(45, at);
  record.writeUInt16LE(stored, at + 4);
  record.writeUInt16LE(0x0021, at + 8);
  record.writeUInt32LE(checksum, at + 10);
  record.writeUInt32LE(compressedBytes, at + 14);
  record.writeUInt32LE(bytes, at + 18);
  record.writeUInt16LE(nameLength, at + 22);
}

function npyHeader(name: string, shape: readonly number[], data: NpzData): Buffer {
  const count = countElements(shape);
  if (count !== data.length) {
    throw invalid(
      `array ${name}: expected ${count} elements for shape [${shape.join(", ")}], got ${data.length}`,
    );
  }
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const text = `{'descr': '${dtypeOf(data)}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // numpy leaves room for the first axis to grow to 21 digits in place.
  const growth = shape.length === 0 ? 0 : 21 - String(shape[0]).length;
  const preamble = npyMagic.length + 4;
  const bytes = Math.ceil((preamble + text.length + growth + 1) / 64) * 64;
  const header = Buffer.alloc(bytes, " ");
  npyMagic.copy(header);
  header.writeUInt16LE(1, npyMagic.length);
  header.writeUInt16LE(bytes - preamble, npyMagic.length + 2);
  header.write(text, preamble, "latin1");
  header[bytes - 1] = 0x0a;
  return header;
}

function dtypeOf(data: NpzData): string {
  const kind = data instanceof Float32Array || data instanceof Float64Array ? "f" : undefined;
  const signed =
    data instanceof Int8Array ||
    data instanceof Int16Array ||
    data instanceof Int32Array ||
    data instanceof BigInt64Array;
  return `${data.BYTES_PER_ELEMENT === 1 ? "|" : "<"}${kind ?? (signed ? "i" : "u")}${data.BYTES_PER_ELEMENT}`;
}

interface DirectoryEntry {
  readonly name: string;
  readonly method: number;
  readonly checksum: number;
  readonly compressedBytes: number;
  readonly bytes: number;
  readonly localOffset: number;
  /** Where the central directory starts: no member reaches beyond. */
  readonly limit: number;
}

function arrayName({ name }: DirectoryEntry): string {
  return name.endsWith(".npy") ? name.slice(0, -4) : name;
}

function readDirectory(archive: Buffer): DirectoryEntry[] {
  // numpy takes a file for an archive by its first bytes, before it looks for a directory at the end.
  const first = archive.length >= 4 ? archive.readUInt32LE(0) : 0;
  if (first !== localSignature && first !== endSignature) {
    const start = archive.subarray(0, 4).toString("hex") || "nothing";
    throw invalid(`expected a zip archive, starting with 504b0304, got ${start}`);
  }
  const { count, directory, directoryEnd } = findDirectory(archive);
  const entries: DirectoryEntry[] = [];
  let at = directory;
  for (let i = 0; i < count; i++) {
    if (at + centralBytes > directoryEnd || archive.readUInt32LE(at) !== centralSignature) {
      throw invalid(`expected ${count} directory entries, got ${i}`);
    }
    const nameLength = archive.readUInt16LE(at + 28);
    const extraLength = archive.readUInt16LE(at + 30);
    const next = at + centralBytes + nameLength + extraLength + archive.readUInt16LE(at + 32);
    if (next > directoryEnd) throw invalid(`directory entry ${i} reaches beyond the directory`);
    const name = archive.toString("utf8", at + centralBytes, at + centralBytes + nameLength);
    if ((archive.readUInt16LE(at + 8) & encryptedFlag) !== 0) throw invalid(`member ${name} is encrypted`);
    const extra = at + centralBytes + nameLength;
    const [bytes, compressedBytes, localOffset] = widen(archive.subarray(extra, extra + extraLength), name, [
      archive.readUInt32LE(at + 24),
      archive.readUInt32LE(at + 20),
      archive.readUInt32LE(at + 42),
    ]);
    entries.push({
      name,
      method: archive.readUInt16LE(at + 10),
      checksum: archive.readUInt32LE(at + 16),
      compressedBytes,
      bytes,
      localOffset,
      limit: directory,
    });
    at = next;
  }
  return entries;
}

function findDirectory(archive: Buffer): { count: number; directory: number; directoryEnd: number } {
  const lowest = Math.max(0, archive.length - endBytes - longestZipComment);
  let end = archive.length - endBytes;
  while (end >= lowest && archive.readUInt32LE(end) !== endSignature) end--;
  if (end < lowest) throw invalid("no end-of-directory record: the archive is cut off or not a zip archive");

  let count = archive.readUInt16LE(end + 10);
  let directoryBytes = archive.readUInt32LE(end + 12);
  let directory = archive.readUInt32LE(end + 16);
  let directoryEnd = end;
  const locator = end - zip64LocatorBytes;
  if (locator >= zip64EndBytes && archive.readUInt32LE(locator) === zip64LocatorSignature) {
    directoryEnd = locator - zip64EndBytes;
    if (archive.readUInt32LE(directoryEnd) !== zip64EndSignature)
      throw invalid("zip64 end record is missing");
    count = readUInt64(archive, directoryEnd + 32);
    directoryBytes = readUInt64(archive, directoryEnd + 40);
    directory = readUInt64(archive, directoryEnd + 48);
  }
  if (directory + directoryBytes !== directoryEnd) {
    throw invalid(
      `expected the directory to end at byte ${directoryEnd}, got ${directory} plus ${directoryBytes} bytes`,
    );
  }
  return { count, directory, directoryEnd };
}

/** Replaces those of size, compressed size and offset that are all ones by the 64-bit values of the zip64 extra field. */
function widen(extra: Buffer, name: string, fields: [number, number, number]): [number, number, number] {
  if (!fields.includes(wide)) return fields;
  let at = 0;
  while (at + 4 <= extra.length && extra.readUInt16LE(at) !== 1) at += 4 + extra.readUInt16LE(at + 2);
  at += 4;
  const read = (field: number): number => {
    if (field !== wide) return field;
    if (at + 8 > extra.length) throw invalid(`member ${name}: zip64 sizes are missing`);
    at += 8;
    return readUInt64(extra, at - 8);
  };
  return [read(fields[0]), read(fields[1]), read(fields[2])];
}

function readUInt64(buffer: Buffer, at: number): number {
  const value = Number(buffer.readBigUInt64LE(at));
  if (!Number.isSafeInteger(value)) throw invalid(`expected a size below 2^53, got ${value}`);
  return value;
}

function readMember(archive: Buffer, entry: DirectoryEntry): Buffer {
  const { name, localOffset, limit } = entry;
  if (localOffset + localBytes > limit || archive.readUInt32LE(localOffset) !== localSignature) {
    throw invalid(`member ${name}: expected a local header at byte ${localOffset}`);
  }
  const nameLength = archive.readUInt16LE(localOffset + 26);
  const start = localOffset + localBytes + nameLength + archive.readUInt16LE(localOffset + 28);
  const end = start + entry.compressedBytes;
  if (end > limit) {
    throw invalid(
      `member ${name}: expected ${entry.compressedBytes} bytes, got ${Math.max(0, limit - start)}`,
    );
  }
  const localName = archive.toString("utf8", localOffset + localBytes, localOffset + localBytes + nameLength);
  if (localName !== name) throw invalid(`member ${name}: its local header says ${localName}`);
  const content = inflate(archive.subarray(start, end), entry);
  if (content.length !== entry.bytes) {
    throw invalid(`member ${name}: expected ${entry.bytes} bytes, got ${content.length}`);
  }
  const checksum = crc32(content);
  if (checksum !== entry.checksum) {
    throw invalid(
      `member ${name}: expected CRC-32 ${entry.checksum.toString(16)}, got ${checksum.toString(16)}`,
    );
  }
  return content;
}

function inflate(content: Buffer, { name, method, bytes }: DirectoryEntry): Buffer {
  if (method === stored) return content;
  if (method !== deflated) throw invalid(`member ${name}: expected method 0 or 8, got ${method}`);
  // zlib reserves its output by this bound, so the bound must follow from bytes that are really there.
  if (bytes > content.length * largestDeflateRatio) {
    throw invalid(`member ${name}: ${content.length} deflated bytes cannot hold ${bytes}`);
  }
  try {
    return inflateRawSync(content, { maxOutputLength: bytes + 1, finishFlush: constants.Z_FINISH });
  } catch (cause) {
    throw invalid(`member ${name}: deflated data is damaged or larger than ${bytes} bytes`, cause);
  }
}

function describeMember(file: Buffer, name: string): NpzMember {
  try {
    const { shape, dtype } = readNpyHeader(file, name);
    return { name, shape, dtype };
  } catch (error) {
    if (error instanceof WireError) return { name, shape: [], dtype: "" };
    throw error;
  }
}

/** The header of an array, with the type of its elements unless that is none that we read, and where they begin. */
function readNpyHeader(file: Buffer, name: string) {
  const fail = (problem: string) => invalid(`member ${name}: ${problem}`);
  if (file.length < 10 || !file.subarray(0, npyMagic.length).equals(npyMagic)) {
    throw fail("expected an npy array");
  }
  const version = file[6]!;
  if (version < 1 || version > 3 || file[7] !== 0) {
    throw fail(`expected npy version 1.0, 2.0 or 3.0, got ${version}.${file[7]}`);
  }
  const lengthBytes = version === 1 ? 2 : 4;
  if (file.length < 8 + lengthBytes) throw fail("its header is cut off");
  const headerLength = file.readUIntLE(8, lengthBytes);
  const start = 8 + lengthBytes + headerLength;
  if (headerLength > longestNpyHeader || start > file.length) {
    throw fail(`expected a header of at most ${longestNpyHeader} bytes, all there, got ${headerLength}`);
  }
  const header = parseNpyHeader(file.toString(version === 3 ? "utf8" : "latin1", 8 + lengthBytes, start));
  if (header === undefined) throw fail("its header is not a dictionary of descr, fortran_order and shape");

  const [, order, code] = /^([<>|=]?)([iuf]\d)$/.exec(header.descr) ?? [];
  const type = elementTypes.find(({ dtype }) => dtype.slice(1) === code);
  return { ...header, start, order, type, dtype: type?.dtype ?? header.descr };
}

function readNpy(file: Buffer, name: string): NpzArray {
  const fail = (problem: string) => invalid(`member ${name}: ${problem}`);
  const { shape, fortranOrder, descr, start, order, type } = readNpyHeader(file, name);
  if (type === undefined) throw fail(`expected an integer or float type, got ${JSON.stringify(descr)}`);
  const count = countElements(shape);
  const dataBytes = count * type.bytes;
  if (!(dataBytes <= file.length - start)) {
    throw fail(`expected ${dataBytes} bytes for shape [${shape.join(", ")}], got ${file.length - start}`);
  }
  const elements = Buffer.from(new ArrayBuffer(dataBytes));
  file.copy(elements, 0, start, start + dataBytes);
  if (order === ">") swapBytes(elements, type.bytes);
  const data = type.view(elements.buffer);
  return { shape, dtype: type.dtype, data: fortranOrder ? toRowMajor(data, shape, type) : data };
}

/** Product of the axes; not exact, but then larger than any buffer, once beyond 2^53. */
function countElements(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

function swapBytes(elements: Buffer, elementBytes: number): void {
  if (elementBytes === 2) elements.swap16();
  if (elementBytes === 4) elements.swap32();
  if (elementBytes === 8) elements.swap64();
}

function toRowMajor(source: NpzData, shape: readonly number[], type: ElementType): NpzData {
  const target = type.view(new ArrayBuffer(source.byteLength));
  const index = shape.map(() => 0);
  const strides: number[] = [];
  shape.reduce((stride, length) => {
    strides.push(stride);
    return stride * length;
  }, 1);
  let at = 0;
  for (let i = 0; i < source.length; i++) {
    target[i] = source[at]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis]!;
      index[axis]!++;
      if (index[axis]! < shape[axis]!) break;
      at -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return target;
}

interface NpyHeader {
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

/**
 * The header is a Python literal: a dictionary with exactly these keys, in any order, either kind of quotes, and a
 * trailing comma or none. A list for the shape is refused, as numpy does.
 */
function parseNpyHeader(text: string): NpyHeader | undefined {
  const body = /^\s*\{(.*)\}\s*$/s.exec(text)?.[1];
  if (body === undefined) return undefined;
  const pair = /\s*(['"])(\w+)\1\s*:\s*(?:(['"])([^'"\\]*)\3|(True|False)|\(([\d\s,]*)\))\s*(?:,|$)/y;
  let descr: string | undefined;
  let fortranOrder: boolean | undefined;
  let shape: number[] | undefined;
  while (body.slice(pair.lastIndex).trim() !== "") {
    const match = pair.exec(body);
    if (match === null) return undefined;
    const [, , key, , quoted, truth, tuple] = match;
    if (key === "descr" && quoted !== undefined) descr = quoted;
    else if (key === "fortran_order" && truth !== undefined) fortranOrder = truth === "True";
    else if (key === "shape" && tuple !== undefined) shape = parseTuple(tuple);
    else return undefined;
  }
  if (descr === undefined || fortranOrder === undefined || shape === undefined) return undefined;
  return { descr, fortranOrder, shape };
}

/** Inside of a Python tuple of integers; `3` without a comma is a number in brackets and no tuple. */
function parseTuple(text: string): number[] | undefined {
  if (text.trim() === "") return [];
  const items = text.split(",").map((item) => item.trim());
  if (items.length === 1) return undefined;
  if (items.at(-1) === "") items.pop();
  return items.every((item) => /^\d+$/.test(item)) ? items.map(Number) : undefined;
}

function invalid(problem: string, cause?: unknown): WireError {
  return new WireError("STEMLINE_NPZ_INVALID", `npz archive: ${problem}`, { cause });
}
