import { posix } from "node:path";

/** One instruction of a Containerfile. */
export interface Instruction {
  /** Line of its first word; the first line is 1. */
  readonly line: number;
  /** In capitals. */
  readonly keyword: string;
  /** `--from=builder` is `from` with `builder`. */
  readonly flags: ReadonlyMap<string, string>;
  /** What follows the flags, without comments; the members of a JSON list. */
  readonly words: readonly string[];
}

export async function readContainerfile(text: string): Promise<Instruction[]> {
  // Loaded here: an operator's process needs no parser of Containerfiles.
  const { DockerfileParser, JSONInstruction, ModifiableInstruction } = await import("dockerfile-ast");
  return DockerfileParser.parse(text)
    .getInstructions()
    .map((instruction) => {
      const flags = instruction instanceof ModifiableInstruction ? instruction.getFlags() : [];
      const list = instruction instanceof JSONInstruction ? instruction.getJSONStrings() : [];
      return {
        line: instruction.getRange().start.line + 1,
        keyword: instruction.getKeyword(),
        flags: new Map(flags.map((flag) => [flag.getName(), flag.getValue() ?? ""])),
        words:
          list.length > 0
            ? list.map((member) => member.getJSONValue())
            : instruction.getArguments().map((argument) => argument.getValue()),
      };
    });
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
    const [image = "", , name = ""] = instruction.words;
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
  return instructions.flatMap(({ keyword, flags, words, line }): Copy[] => {
    if (keyword === "WORKDIR") folder = posix.resolve(folder, words[0] ?? "");
    if (keyword !== "COPY" && keyword !== "ADD") return [];
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
