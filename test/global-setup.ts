import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));

/** Command-line tests start dist as a user does; it must not be older than what is tested. */
export default function setup(): void {
  const built = join(root, "dist/cli/main.js");
  const newest = Math.max(
    ...readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).map(
      (path) => statSync(join(root, "src", path)).mtimeMs,
    ),
  );
  if (existsSync(built) && statSync(built).mtimeMs >= newest) return;
  execFileSync(process.execPath, [join(root, "node_modules/tsdown/dist/run.mjs"), "--log-level", "warn"], {
    cwd: root,
    stdio: "ignore",
  });
}
