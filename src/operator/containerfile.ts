import { posix } from "node:path";

/** One instruction of a Containerfile, its lines joined. */
export interface Instruction {
  /** Line of its first word; the first line is 1. */
  readonly line: number;
  /** In capitals. */
  readonly keyword: string;
  /** `--from=builder` is `from` with `builder`. */
  readonly flags: ReadonlyMap<string, string>;
  /** What follows the flags, without comment lines; here-documents are left out. */
  readonly rest: string;
}

export function readContainerfile(text: string): Instruction[] {
  const lines = text.split(/\r?\n/);
  const instructions: Instruction[] = [];
  const isComment = (line: string) => /^\s*#/.test(line);
  for (let index = 0; index < lines.length; index += 1) {
    if (lines[index]!.trim() === "" || isComment(lines[index]!)) continue;
    const line = index + 1;
    let joined = lines[index]!;
    while (/\\\s*$/.test(joined) && index + 1 < lines.length) {
      index += 1;
      // Comment lines may stand between the lines of an instruction.
      if (!isComment(lines[index]!)) joined = joined.replace(/\\\s*$/, lines[index]!);
    }
    const [, keyword = "", flagText = "", rest = ""] = /^\s*(\S+)((?:\s+--\S+)*)\s*(.*)$/.exec(joined) ?? [];
    const flags = flagText.split(/\s+/).filter((flag) => flag !== "");
    instructions.push({
      line,
      keyword: keyword.toUpperCase(),
      flags: new Map(flags.map((flag) => /^--([^=]*)=?(.*)$/.exec(flag)!.slice(1) as [string, string])),
      rest: rest.trim(),
    });
    for (const [, mark] of rest.matchAll(/<<-?["']?(\w+)/g)) {
      while (index + 1 < lines.length && lines[index + 1]!.trim() !== mark) index += 1;
      index += 1;
    }
  }
  return instructions;
}

export interface Stage {
  readonly from: Instruction;
  /** Image that it starts from, also by way of other stages. */
  readonly baseImage: string;
  readonly instructions: readonly Instruction[];
}

/** The parts of a Containerfile that begin with FROM; what stands before the first one is left out. */
export function stagesOf(instructions: readonly Instruction[]): Stage[] {
  const stages: (Stage & { readonly name: string; readonly instructions: Instruction[] })[] = [];
  for (const instruction of instructions) {
    if (instruction.keyword !== "FROM") {
      stages.at(-1)?.instructions.push(instruction);
      continue;
    }
    const [image = "", , name = ""] = instruction.rest.split(/\s+/);
    const baseImage = stages.find((stage) => stage.name !== "" && stage.name === image)?.baseImage ?? image;
    stages.push({ from: instruction, baseImage, name, instructions: [] });
  }
  return stages;
}

export interface Copy {
  readonly line: number;
  /** Paths in the build context; empty for what comes from another stage or image. */
  readonly sources: readonly string[];
  /** Absolute path in the image, with a slash at the end where it is a folder for sure. */
  readonly target: string;
}

/** What the instructions of a stage copy into the image. */
export function copiesOf(instructions: readonly Instruction[]): Copy[] {
  let folder = "/";
  return instructions.flatMap(({ keyword, flags, rest, line }): Copy[] => {
    if (keyword === "WORKDIR") folder = posix.resolve(folder, rest);
    if (keyword !== "COPY" && keyword !== "ADD") return [];
    const words = rest.startsWith("[")
      ? [...rest.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) => word!)
      : rest.split(/\s+/);
    const last = words.at(-1) ?? "";
    const path = posix.resolve(folder, last);
    const isFolder = /(^|\/)\.?$/.test(last) || words.length > 2;
    return [
      {
        line,
        sources: flags.has("from")
          ? []
          : words.slice(0, -1).map((word) => posix.join(word.replace(/^\/+/, ""))),
        target: isFolder && path !== "/" ? `${path}/` : path,
      },
    ];
  });
}

/** Whether a copy puts `file` of the build context to `path`. What another stage leaves there cannot be known. */
export function putsFile({ sources, target }: Copy, file: string, path: string): boolean {
  const folder = `${posix.dirname(path)}/`;
  if (sources.length === 0) return [path, folder, folder.slice(0, -1)].includes(target);
  return sources.some((source) => {
    if (source === file) return target === path || withSlash(target) === folder;
    const whole = [".", "./"].includes(source) || globPattern(source).test(file);
    return whole && withSlash(target) === folder;
  });
}

function withSlash(path: string): string {
  return path.endsWith("/") ? path : `${path}/`;
}

/** `*` and `?` as in a shell. */
export function globPattern(source: string): RegExp {
  const escaped = source.replaceAll(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("*", "[^/]*").replaceAll("?", "[^/]")}$`);
}
