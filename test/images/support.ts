import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program in the repository's root as a user would, and returns what it printed. */
export function run(command: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Finished {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: "utf8",
    maxBuffer: 2 ** 26,
  });
  if (error !== undefined) throw error;
  return { code: status, stdout, stderr };
}

/** The same, and fails unless the program ends well. */
export function succeed(command: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): string {
  const { code, stdout, stderr } = run(command, args, env);
  if (code === 0) return stdout;
  throw new Error(
    `${command} ${args.join(" ")} ended with ${code}\n${stdout.slice(-4000)}\n${stderr.slice(-8000)}`,
  );
}

export const bases = ["interactem-base", "interactem-operator", "distiller-streaming"] as const;

/** Every operator of the repository, by the name of its folder. */
export const operators = readdirSync(`${root}operators`, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

export const readText = (path: string) => readFileSync(`${root}${path}`, "utf8");

/** Where vars-local.hcl pushes to. */
export const registry = "localhost:5001/ghcr.io/nersc/interactem";

export const imageOf = (name: string) => `${registry}/${name}:latest`;

export interface Inspected {
  readonly Id: string;
  readonly RepoDigests: readonly string[];
  readonly Size: number;
  readonly Config: {
    readonly User: string;
    readonly Entrypoint: readonly string[];
    readonly Labels: Readonly<Record<string, string>>;
    readonly Healthcheck?: { readonly Test: readonly string[] };
  };
}

export function inspect(engine: "docker" | "podman", image: string): Inspected {
  const [entry] = JSON.parse(succeed(engine, ["image", "inspect", image]));
  // Podman leaves out the algorithm, and has the check outside of Config.
  const { Id, Healthcheck = entry.Config.Healthcheck } = entry;
  return { ...entry, Id: Id.replace(/^sha256:/, ""), Config: { ...entry.Config, Healthcheck } };
}
