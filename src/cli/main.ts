#!/usr/bin/env node
import { Command } from "commander";
import { answerDefaults } from "../operator/operator-draft.ts";
import { parameterTypes } from "../spec/operator-spec.ts";
import { type DevCommandOptions, devCommand } from "./dev-command.ts";
import { type DoctorOptions, doctor } from "./doctor-command.ts";
import { exitCodes } from "./exit-codes.ts";
import { packageFacts } from "./files.ts";
import { type NewCommandOptions, newCommand } from "./new-command.ts";
import { checkOperators, validateOperators } from "./operator-commands.ts";
import { expandCommand, validateCommand } from "./pipeline-commands.ts";
import { errorEvent, reportError } from "./report-error.ts";
import { parseParallelism, type RunCommandOptions, runCommand } from "./run-command.ts";
import { parseNumber, parseShape, type SimulateCommandOptions, simulateCommand } from "./simulate-command.ts";

const { stdout, stderr, env, argv } = process;
const debug = (env.STEMLINE_DEBUG ?? "") !== "";

function createProgram(setExitCode: (code: number) => void): Command {
  const facts = packageFacts();
  const program = new Command("stemline")
    .description("Native operator runtime for live 4D-STEM.")
    .version(facts.version)
    .exitOverride()
    .showHelpAfterError("Add --help to see how it is used.");

  program
    .command("run")
    .description("Run a pipeline in this process and write what it yields to a folder.")
    .argument("<pipeline>", "JSON file of a canonical pipeline")
    .option("--set <operator.parameter=value>", "give a parameter another value; repeatable", collect, [])
    .option("--out <folder>", "folder for pictures and arrays", "out")
    .option("--operators <folder>", "folder of further operators, or of one")
    .option("--parallelism <n>", "replicas of every parallel operator", parseParallelism)
    .option("--json", "print one JSON object a line for programs")
    .action(async (file: string, options: RunCommandOptions) => {
      try {
        setExitCode(await runCommand(file, options, { stdout, stderr, debug }));
      } catch (error) {
        if (options.json) stdout.write(`${errorEvent(error)}\n`);
        throw error;
      }
    });

  const pipeline = program.command("pipeline").description("Look at a pipeline without running it.");
  pipeline
    .command("validate")
    .description("List everything that keeps a pipeline from running.")
    .argument("<pipeline>", "JSON file of a canonical pipeline")
    .option("--operators <folder>", "folder of further operators, or of one")
    .action(async (file: string, { operators }: { operators?: string }) => {
      stdout.write(`${await validateCommand(file, operators)}\n`);
    });
  pipeline
    .command("expand")
    .description("Print the runtime pipeline, with replicas, as interactEM would run it.")
    .argument("<pipeline>", "JSON file of a canonical pipeline")
    .option(
      "--parallelism <n>",
      "replicas of a parallel operator that does not say how many",
      parseParallelism,
    )
    .action(async (file: string, { parallelism }: { parallelism?: number }) => {
      stdout.write(`${await expandCommand(file, parallelism)}\n`);
    });

  const operator = program.command("operator").description("Make, check or run one operator.");
  operator
    .command("new")
    .description("Make the folder of an operator; at a terminal it asks for what is not given.")
    .option("--name <name>", "of folder and image, in kebab-case")
    .option("--label <text>", "name for people (default: made of --name)")
    .option("--description <text>", "what it does, in a line")
    .option("--registry <registry>", `where its image goes (default: ${answerDefaults.registry})`)
    .option("--parallel <type>", "none, or embarrassing: replicas share the messages (default: none)")
    .option(
      "--base-image <image>",
      `${answerDefaults.baseImage} (the default), distiller-streaming or any other`,
    )
    .option("--input <name:type>", "input port; repeatable", collect)
    .option("--output <name:type>", "output port; repeatable", collect)
    .option(
      "--parameter <name:type:default>",
      `of type ${parameterTypes.join(", ")}; a str-enum is name:str-enum:first|second, the first is the default; repeatable`,
      collect,
    )
    .option("--trigger <name>", "trigger; name:drain calls run until it returns null; repeatable", collect)
    .option("--tag <value>", "tag; value:description describes it; repeatable", collect)
    .option("--dependency <package>", "npm package; package@range says which; repeatable", collect)
    .option("--output-dir <folder>", "folder that gets the operator's folder", "operators")
    .option("--bake", "add a target to docker-bake.hcl in that folder")
    .option("--yes", "ask nothing: what is not given takes its default")
    .action(async (options: NewCommandOptions) => {
      const text = await newCommand(options, Boolean(process.stdin.isTTY && stdout.isTTY));
      if (text === null) setExitCode(exitCodes.interrupted);
      else stdout.write(`${text}\n`);
    });
  operator
    .command("validate")
    .description("List every problem of operator.json.")
    .argument("<files...>", "operator.json, or folders of operators")
    .action(async (files: string[]) => {
      stdout.write(`${await validateOperators(files)}\n`);
    });
  operator
    .command("check")
    .description("Check that run.ts, operator.json, Containerfile and docker-bake.hcl agree.")
    .argument("<folders...>", "folders of operators")
    .action(async (folders: string[]) => {
      stdout.write(`${await checkOperators(folders)}\n`);
    });

  operator
    .command("dev")
    .description("Run an operator on recorded data, and again whenever its files change.")
    .argument("<folder>", "folder of the operator")
    .option(
      "--input <path>",
      "counted .h5 file, or recorded messages: a folder with part0.json (header), part1.* (meta), part2.* (data) of " +
        "one message, or a folder of such folders",
    )
    .option("--set <parameter=value>", "give a parameter another value; repeatable", collect, [])
    .option("--out <folder>", "folder for pictures and arrays that the operator sends")
    .option(
      "--record <folder>",
      "folder for what it sends as recorded messages, for --input of the next operator",
    )
    .option("--once", "run once and exit: 0 done, 1 messages were lost, 2 it cannot be run")
    .action(async (directory: string, options: DevCommandOptions) => {
      setExitCode(await devCommand(directory, options, { stdout, stderr, debug }));
    });
  operator
    .command("start")
    .description("Run an operator of a deployed pipeline, configured by environment variables.")
    .argument("[file]", "run.ts of the operator", "/app/run.ts")
    .action(async (file: string) => {
      // Loaded here: no other command needs the network's libraries.
      const { startOperator } = await import("../host/main.ts");
      setExitCode(await startOperator(file, env));
    });

  program
    .command("simulate")
    .description("Write a simulated counted scan whose centre of mass is known.")
    .argument("<file>", "HDF5 file to write")
    .option("--scan <RxC>", "scan positions, rows x columns (default: 128x128)", parseShape("--scan"))
    .option("--frame <RxC>", "detector pixels, rows x columns (default: 576x576)", parseShape("--frame"))
    .option("--dose <n>", "mean number of electrons in a frame (default: 100)", parseNumber("--dose"))
    .option("--seed <n>", "seed of the random numbers (default: 1)", parseNumber("--seed"))
    .option(
      "--frames-per-position <n>",
      "frames of every scan position (default: 1)",
      parseNumber("--frames-per-position"),
    )
    .action(async (file: string, options: SimulateCommandOptions) => {
      stdout.write(`${await simulateCommand(file, options, stderr)}\n`);
    });

  program
    .command("doctor")
    .description("Say what this machine offers and what is missing.")
    .option("--json", "print one JSON object for programs")
    .action(async (options: DoctorOptions) => {
      const { text, exitCode } = await doctor(facts, env, options);
      stdout.write(`${text}\n`);
      setExitCode(exitCode);
    });
  return program;
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

// A reader such as `head` that has seen enough is no failure worth a message; the code is that of SIGPIPE.
stdout.on("error", ({ code }: NodeJS.ErrnoException) => process.exit(code === "EPIPE" ? 141 : 1));
process.on("uncaughtException", (error) => process.exit(reportError(error, stderr, debug)));

let exitCode = 0;
try {
  await createProgram((code) => {
    exitCode = code;
  }).parseAsync(argv);
} catch (error) {
  exitCode = reportError(error, stderr, debug);
}
// Timers or workers that an operator left behind must not keep a finished run from ending.
process.exit(exitCode);
