import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { errorText, NativeError } from "../errors.ts";
import type { Addon } from "./addon.ts";

// This file lies two folders below the package root both in src and in dist.
const packageRoot = fileURLToPath(new URL("../../", import.meta.url));
const require = createRequire(import.meta.url);

/** Where the addon may lie, in the order of trying: named by the user, built here, shipped with the package. */
function candidates(): string[] {
  const { STEMLINE_ADDON: named } = process.env;
  if (named !== undefined && named !== "") return [resolve(named)];
  const prebuilds = join(packageRoot, "prebuilds", `${process.platform}-${process.arch}`);
  return [join(packageRoot, "build", "Release", "stemline.node"), join(prebuilds, "stemline.node")];
}

let loaded: { readonly addon: Addon; readonly path: string } | undefined;

/** The native addon, loaded at the first call. Throws as `findAddon` does. */
export function loadAddon(): Addon {
  return findAddon().addon;
}

/**
 * The native addon and the file that it was loaded from. Throws NativeError `STEMLINE_ADDON_NOT_LOADED`, which says every place that
 * was tried, what happened there, and what to do.
 */
export function findAddon(): { readonly addon: Addon; readonly path: string } {
  if (loaded !== undefined) return loaded;
  const tried: string[] = [];
  let cause: unknown;
  for (const path of candidates()) {
    if (!existsSync(path)) {
      tried.push(`${path}: no such file`);
      continue;
    }
    try {
      loaded = { addon: require(path) as Addon, path };
      configureAcceleration(loaded.addon);
      return loaded;
    } catch (error) {
      cause ??= error;
      tried.push(`${path}: ${errorText(error)}`);
    }
  }
  throw new NativeError(
    "STEMLINE_ADDON_NOT_LOADED",
    [
      `The native addon for ${process.platform}-${process.arch} (Node ${process.version}) could not be loaded. Tried:`,
      ...tried.map((line) => `  ${line}`),
      "In a clone, build it with: npm run build:addon. In an installation, check that the package has a prebuild for this platform.",
    ].join("\n"),
    { cause },
  );
}

/** Hands on what the environment says of GPUs, and which replica of its operator this process is. */
export function configureAcceleration(addon: Addon, replica = 0): void {
  const { STEMLINE_BACKEND: backend, STEMLINE_CUDA_DEVICE: device = "" } = process.env;
  // Any other is a backend of the CPU, which is checked where it is used.
  const mode = backend === undefined || backend === "" ? "auto" : backend;
  addon.configureAcceleration({
    mode: mode === "auto" || mode === "cuda" ? mode : "cpu",
    library: cudaLibraryPath(),
    device,
    replica,
  });
}

/** Where the CUDA library is looked for: named by STEMLINE_CUDA_LIBRARY, else beside the addon. Throws as `findAddon` does. */
export function cudaLibraryPath(): string {
  const { STEMLINE_CUDA_LIBRARY: named } = process.env;
  if (named !== undefined && named !== "") return resolve(named);
  return join(dirname(findAddon().path), "stemline_cuda.so");
}
