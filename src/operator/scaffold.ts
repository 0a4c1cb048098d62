import type { OperatorSpec, ParameterSpec } from "../spec/operator-spec.ts";
import type { OperatorDraft } from "./operator-draft.ts";

/** Texts of a new operator's files by name, laid out as the formatter of this repository does. */
export function scaffold({ spec, baseImage, dependencies }: OperatorDraft): Readonly<Record<string, string>> {
  const packages = Object.keys(dependencies).length > 0;
  const manifest = { private: true, type: "module", dependencies };
  return {
    "run.ts": runText(spec),
    "operator.json": specText(spec),
    Containerfile: packages ? containerfileWithPackages(baseImage) : containerfile(baseImage),
    ...(packages && { "package.json": `${JSON.stringify(manifest, null, 2)}\n` }),
  };
}

function containerfile(baseImage: string): string {
  return `FROM ${baseImage}

COPY run.ts /app/run.ts
`;
}

function containerfileWithPackages(baseImage: string): string {
  return `FROM ${baseImage}

# Packages come from npm's cache, which the build is given as a context: no network.
USER root
COPY package.json package-lock.json* /app/
RUN --mount=type=bind,from=npm-cache,target=/npm-cache,rw \\
    npm install --prefix /app --omit=dev --ignore-scripts --offline --no-audit --no-fund --cache /npm-cache
USER 1000:0
COPY run.ts /app/run.ts
`;
}

const lineWidth = 110;

function specText(spec: OperatorSpec): string {
  const text = JSON.stringify(spec, (_key, value: unknown) => jsonValue(value), 2)
    .replaceAll(/^( +"default": \S+e)\+(\d+,?)$/gm, "$1$2")
    // A list of texts stands in one line where it fits.
    .replaceAll(/^( +)"options": \[\n.*?\n\1\]/gms, (lines, indent: string) => {
      const line = `${indent}${lines.trim().replaceAll(/\n +/g, " ").replace("[ ", "[").replace(/ \]$/, "]")}`;
      return line.length <= lineWidth ? line : lines;
    });
  return `${text}\n`;
}

/** Leaves empty lists out. JSON has no other way to write numbers that are not finite; interactEM reads them from text. */
function jsonValue(value: unknown): unknown {
  if (Array.isArray(value) && value.length === 0) return undefined;
  if (typeof value !== "number" || Number.isFinite(value)) return value;
  return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

const builders = {
  str: "string",
  int: "integer",
  float: "float",
  bool: "boolean",
  mount: "mount",
  "str-enum": "oneOf",
} as const;

function runText({ label, description, inputs, outputs, triggers, parameters }: OperatorSpec): string {
  const body = runBody({
    takes: (inputs ?? []).length > 0,
    sends: (outputs ?? []).length > 0,
    drained: (triggers ?? []).some(({ mode }) => mode === "drain"),
    triggered: (triggers ?? []).length > 0,
    set: (parameters ?? []).length > 0,
  });
  const imports = new Set(["defineOperator", ...(parameters ?? []).map(({ type }) => builders[type])]);
  if (body.includes("bytesMessage(")) imports.add("bytesMessage");
  return [
    `import { ${[...imports].sort().join(", ")} } from "stemline";`,
    "",
    `/** ${(description || `${label}.`).replaceAll("*/", "* /")} */`,
    "export default defineOperator({",
    ...names("inputs", inputs),
    ...names("outputs", outputs),
    ...names("triggers", triggers),
    ...declarations(parameters ?? []),
    body,
    "});",
    "",
  ].join("\n");
}

function names(member: string, named: readonly { readonly name: string }[] | null): string[] {
  if (named === null || named.length === 0) return [];
  return [
    `  ${textList(
      `${member}: `,
      named.map(({ name }) => name),
      "  ",
    )},`,
  ];
}

function declarations(parameters: readonly ParameterSpec[]): string[] {
  if (parameters.length === 0) return [];
  return ["  parameters: {", ...parameters.map((parameter) => `    ${declaration(parameter)},`), "  },"];
}

function declaration(parameter: ParameterSpec): string {
  const name = /^[A-Za-z_]\w*$/.test(parameter.name) ? parameter.name : quote(parameter.name);
  const call = `${name}: ${builders[parameter.type]}(`;
  const setting = `default: ${literal(parameter.default)}`;
  const options = parameter.type === "str-enum" ? parameter.options : null;
  const first = options === null ? "" : `[${options.map(quote).join(", ")}], `;
  const width = (text: string) => 4 + text.length;
  // The three ways in which the formatter lays out such a call: the first that fits.
  const line = `${call}${first}{ ${setting} })`;
  if (width(line) < lineWidth) return line;
  if (options === null || width(`${call}${first}{`) <= lineWidth)
    return `${call}${first}{\n      ${setting},\n    })`;
  const list = textList("", options, "      ");
  return `${call}\n      ${list},\n      { ${setting} },\n    )`;
}

/** In one line if that fits, with room for a comma. */
function textList(head: string, texts: readonly string[], indent: string): string {
  const line = `${head}[${texts.map(quote).join(", ")}]`;
  if (indent.length + line.length < lineWidth) return line;
  return `${head}[\n${texts.map((text) => `${indent}  ${quote(text)},\n`).join("")}${indent}]`;
}

function literal(value: string | number | boolean): string {
  if (typeof value === "string") return quote(value);
  if (Number.isNaN(value)) return "Number.NaN";
  if (value === Number.POSITIVE_INFINITY) return "Number.POSITIVE_INFINITY";
  if (value === Number.NEGATIVE_INFINITY) return "Number.NEGATIVE_INFINITY";
  return String(value).replace("e+", "e");
}

/** In double quotes, unless single ones need fewer escapes. */
function quote(text: string): string {
  const json = JSON.stringify(text);
  const count = (character: string) => text.split(character).length;
  if (count('"') <= count("'")) return json;
  const inner = json
    .slice(1, -1)
    .replaceAll(/\\(.)/g, (pair, escaped: string) => (escaped === '"' ? escaped : pair))
    .replaceAll("'", "\\'");
  return `'${inner}'`;
}

interface RunShape {
  /** It has inputs. */
  readonly takes: boolean;
  /** It has outputs. */
  readonly sends: boolean;
  readonly triggered: boolean;
  /** A trigger calls `run` until it returns null. */
  readonly drained: boolean;
  /** It has parameters. */
  readonly set: boolean;
}

function runBody({ takes, sends, triggered, drained, set }: RunShape): string {
  const trigger = triggered && "trigger";
  const parameters = set && "parameters";
  if (takes && sends) {
    const fields = listed(trigger, parameters);
    if (fields === "") return "  run: (message) => message,";
    return method(
      `message, { log, ${fields} }`,
      `log.debug({ ${fields} }, "called");`,
      triggered ? "// For a trigger there is no message." : null,
      "return message;",
    );
  }
  if (!sends) {
    const fields = listed(takes && "bytes: message?.data.byteLength", trigger, parameters);
    return method(
      `${takes ? "message" : "_message"}, { ${listed("log", trigger, parameters)} }`,
      `log.info({${fields === "" ? "" : ` ${fields} `}}, "called");`,
      "return null;",
    );
  }
  if (triggered && !drained) {
    const fields = listed(trigger, parameters);
    return method(`_message, { ${fields} }`, `return bytesMessage({ ${fields} }, new Uint8Array(1000));`);
  }
  const meta = listed("number: state.sent", trigger, parameters);
  return `  setup: () => ({ sent: 0 }),\n${method(
    `_message, { ${listed("state", trigger, parameters)} }`,
    "// Ten messages, then null: it is not called again, or not before the next trigger.",
    "state.sent = (state.sent + 1) % 11;",
    "if (state.sent === 0) return null;",
    `return bytesMessage({ ${meta} }, new Uint8Array(1000));`,
  )}`;
}

function listed(...names: (string | false)[]): string {
  return names.filter((name) => name !== false).join(", ");
}

function method(head: string, ...statements: (string | null)[]): string {
  const lines = statements.filter((statement) => statement !== null);
  return `  run(${head}) {\n${lines.map((line) => `    ${line}\n`).join("")}  },`;
}
