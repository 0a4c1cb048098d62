/**
 * The value of JSON text.
 *
 * @throws SyntaxError that says line, column (both from 1) and what was expected there; Node's own errors name the place
 *   in some cases only, and each version in another way.
 */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError(faultOf(text), { cause });
  }
}

const space = /[ \t\n\r]*/y;
const string = /"(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/y;
const scalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** Reads text that is not JSON up to where it stops being it. */
function faultOf(text: string): string {
  let at = 0;
  const expectations: string[] = [];
  const take = (pattern: RegExp | string): boolean => {
    if (typeof pattern === "string") {
      if (!text.startsWith(pattern, at)) return false;
      at += pattern.length;
      return true;
    }
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const takeToken = (pattern: RegExp | string): boolean => {
    take(space);
    return take(pattern);
  };
  const expect = (expectation: string, found: boolean): boolean => {
    if (!found) expectations.push(expectation);
    return found;
  };

  const list = (end: string, item: () => boolean): boolean => {
    if (takeToken(end)) return true;
    do {
      if (!item()) return false;
    } while (takeToken(","));
    return expect(`"," or "${end}"`, takeToken(end));
  };
  const member = (): boolean =>
    expect("a name in double quotes", takeToken(string)) && expect('":"', takeToken(":")) && value();
  const value = (): boolean => {
    if (takeToken("{")) return list("}", member);
    if (takeToken("[")) return list("]", value);
    return expect("a value", takeToken(string) || takeToken(scalar));
  };

  if (value()) expect("the end", takeToken(/$/y));
  const before = text.slice(0, at).split("\n");
  const got = at === text.length ? "the end" : JSON.stringify(/\w+|./su.exec(text.slice(at))![0]);
  return `line ${before.length}, column ${before.at(-1)!.length + 1}: expected ${expectations[0]}, got ${got}`;
}
