import { UsageError } from "../errors.ts";

/** Text in double quotes, without the quotes; `start` and `end` are the offsets of token and its end in the file. */
export interface BakeText {
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

/** A list of texts, or one text. */
export interface BakeAttribute {
  readonly start: number;
  readonly end: number;
  readonly texts: readonly BakeText[];
}

/** `type "label" { ... }` at the top of the file; of its members those that are texts or lists. */
export interface BakeBlock {
  readonly type: string;
  readonly label: string;
  readonly start: number;
  readonly attributes: ReadonlyMap<string, BakeAttribute>;
}

interface Token {
  readonly kind: "skipped" | "text" | "word" | "sign";
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** Space and comments; texts with templates `${...}`; here-documents; words; single signs. */
const pattern =
  /(?<skipped>\s+|#.*|\/\/.*|\/\*[\s\S]*?\*\/|<<-?(?<mark>\w+)[\s\S]*?\n[ \t]*\k<mark>(?!\w))|(?<text>"(?:[^"\\$%]|\\.|[$%](?!\{)|[$%]\{(?:[^{}"]|"(?:[^"\\]|\\.)*"|\{[^{}]*\})*\})*")|(?<word>[\w.-]+)|(?<sign>\S)/g;

function tokensOf(text: string): Token[] {
  return [...text.matchAll(pattern)].flatMap((match) => {
    const kinds = ["skipped", "text", "word", "sign"] as const;
    const kind = kinds.find((name) => match.groups![name] !== undefined)!;
    if (kind === "skipped") return [];
    return [{ kind, text: match[0], start: match.index, end: match.index + match[0].length }];
  });
}

/**
 * Reads as much of a docker-bake.hcl as can be said without evaluating it.
 *
 * @throws UsageError `STEMLINE_BAKE_FILE` for a block that does not end.
 */
export function readBakeFile(text: string): BakeBlock[] {
  const tokens = tokensOf(text);
  const blocks: BakeBlock[] = [];
  let index = 0;
  while (index < tokens.length) {
    const first = tokens[index++]!;
    if (first.kind !== "word") continue;
    const labels: Token[] = [];
    while (tokens[index]?.kind === "text") labels.push(tokens[index++]!);
    if (tokens[index]?.text !== "{") continue;
    const end = closing(tokens, index);
    if (end === null) {
      throw new UsageError(
        "STEMLINE_BAKE_FILE",
        `line ${lineAt(text, first.start)}: the block "${first.text}" does not end`,
      );
    }
    const attributes = readAttributes(tokens.slice(index + 1, end));
    blocks.push({ type: first.text, label: contentOf(labels[0]), start: first.start, attributes });
    index = end + 1;
  }
  return blocks;
}

/** The first line is 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

/** Index of the bracket that closes the one at `open`, or null. */
function closing(tokens: readonly Token[], open: number): number | null {
  let depth = 0;
  for (let index = open; index < tokens.length; index += 1) {
    const { kind, text } = tokens[index]!;
    if (kind !== "sign") continue;
    if ("{[(".includes(text)) depth += 1;
    if ("}])".includes(text)) depth -= 1;
    if (depth === 0) return index;
  }
  return null;
}

function readAttributes(tokens: readonly Token[]): Map<string, BakeAttribute> {
  const attributes = new Map<string, BakeAttribute>();
  let index = 0;
  while (index < tokens.length) {
    const [name, equals, value] = tokens.slice(index, index + 3);
    if (name?.kind === "word" && equals?.text === "=" && value !== undefined) {
      if (value.text === "[") {
        const end = closing(tokens, index + 2) ?? tokens.length - 1;
        const texts = tokens.slice(index + 3, end).filter(({ kind }) => kind === "text");
        attributes.set(name.text, {
          start: value.start,
          end: tokens[end]!.end,
          texts: texts.map((token) => ({ ...token, value: contentOf(token) })),
        });
      } else if (value.kind === "text") {
        const { start, end } = value;
        attributes.set(name.text, { start, end, texts: [{ value: contentOf(value), start, end }] });
      }
      index += 2;
    }
    const token = tokens[index]!;
    const opens = token.kind === "sign" && "{[(".includes(token.text);
    index = opens ? (closing(tokens, index) ?? tokens.length) + 1 : index + 1;
  }
  return attributes;
}

function contentOf(token: Token | undefined): string {
  return token?.text.slice(1, -1) ?? "";
}

/** `averager` of `${REGISTRY}/averager:${TAG}`: last part of the image's name, as far as it stands there. */
export function taggedName(tag: string): string {
  const inner = tag.replaceAll(/[$%]\{[^{}]*\}/g, "$");
  return inner === tag ? /([^/$:@]*)(?:[:@][^/]*)?$/.exec(tag)![1]! : taggedName(inner);
}

/** Name of the block that builds an operator on this image, and whether npm's cache is given to the build. */
export function bakeParents(baseImage: string, packages: boolean): string[] {
  const known = ["distiller-streaming", "interactem-operator"].includes(baseImage);
  return [known ? `on-${baseImage}` : "operator", ...(packages ? ["npm-cache"] : [])];
}

export interface BakeTarget {
  readonly name: string;
  /** Folder as seen from where docker is started. */
  readonly context: string;
  readonly baseImage: string;
  readonly packages: boolean;
}

/**
 * The text of a docker-bake.hcl with one target more: its name at its place in group "operators", its block at the end.
 * Everything else stays byte for byte.
 *
 * @throws UsageError `STEMLINE_BAKE_TARGET` when the file has the target, `STEMLINE_BAKE_FILE` when it has no group
 *   "operators" with one name a line.
 */
export function addBakeTarget(text: string, { name, context, baseImage, packages }: BakeTarget): string {
  const blocks = readBakeFile(text);
  const present = blocks.find(({ type, label }) => type === "target" && label === name);
  if (present !== undefined) {
    const line = lineAt(text, present.start);
    throw new UsageError("STEMLINE_BAKE_TARGET", `line ${line}: the target "${name}" exists already`);
  }
  const group = blocks.find(({ type, label }) => type === "group" && label === "operators");
  const list = group?.attributes.get("targets");
  const before = list?.texts.findLast(({ value }) => value < name);
  const lineEnd = list === undefined ? -1 : text.indexOf("\n", before?.end ?? list.start);
  if (
    list === undefined ||
    lineEnd < 0 ||
    lineEnd >= list.end ||
    list.texts.some(({ value }) => value === name)
  ) {
    throw new UsageError(
      "STEMLINE_BAKE_FILE",
      `expected group "operators" with targets, one name a line and without "${name}"`,
    );
  }
  // The last name of a list may go without a comma.
  const comma = before === undefined || /^\s*,/.test(text.slice(before.end)) ? "" : ",";
  const nameEnd = before?.end ?? lineEnd;
  const parents = bakeParents(baseImage, packages).map((parent) => `"${parent}"`);
  return `${text.slice(0, nameEnd)}${comma}${text.slice(nameEnd, lineEnd)}
    "${name}",${text.slice(lineEnd)}${text.endsWith("\n") ? "" : "\n"}
target "${name}" {
  inherits = [${parents.join(", ")}]
  context  = "${context}"
  tags     = ["\${REGISTRY}/${name}:\${TAG}"]
}
`;
}
