/**
 * MessagePack as JSON text, value for value: floats keep a fraction and integers all 64 bits, which a detour through
 * JavaScript numbers would lose. Only what recorded headers hold.
 */
export function msgpackToJson(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (length: number) => {
    at += length;
    return at - length;
  };
  const float = (value: number) => (Number.isInteger(value) ? `${value}.0` : String(value));
  const text = (length: number) => {
    const start = take(length);
    return JSON.stringify(Buffer.from(bytes.subarray(start, start + length)).toString("utf8"));
  };
  const list = (count: number) => `[${Array.from({ length: count }, value).join(",")}]`;
  const map = (count: number) =>
    `{${Array.from({ length: count }, () => {
      const key = value();
      return `${key}:${value()}`;
    }).join(",")}}`;
  function value(): string {
    const tag = view.getUint8(take(1));
    if (tag < 0x80) return String(tag);
    if (tag < 0x90) return map(tag & 0x0f);
    if (tag < 0xa0) return list(tag & 0x0f);
    if (tag < 0xc0) return text(tag & 0x1f);
    if (tag >= 0xe0) return String(tag - 0x100);
    switch (tag) {
      case 0xc0:
        return "null";
      case 0xc2:
        return "false";
      case 0xc3:
        return "true";
      case 0xca:
        return float(view.getFloat32(take(4)));
      case 0xcb:
        return float(view.getFloat64(take(8)));
      case 0xcc:
        return String(view.getUint8(take(1)));
      case 0xcd:
        return String(view.getUint16(take(2)));
      case 0xce:
        return String(view.getUint32(take(4)));
      case 0xcf:
        return String(view.getBigUint64(take(8)));
      case 0xd0:
        return String(view.getInt8(take(1)));
      case 0xd1:
        return String(view.getInt16(take(2)));
      case 0xd2:
        return String(view.getInt32(take(4)));
      case 0xd3:
        return String(view.getBigInt64(take(8)));
      case 0xd9:
        return text(view.getUint8(take(1)));
      case 0xdc:
        return list(view.getUint16(take(2)));
      default:
        throw new Error(`tag 0x${tag.toString(16)} is not expected in a header`);
    }
  }
  const json = value();
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes follow the value`);
  return json;
}
