import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { join, relative, resolve } from "node:path";

/** Editors write a file in several steps. */
const settleMs = 100;

/**
 * Calls `changed` with the name of a file whenever a module or JSON file of an operator's folder is written, added or
 * removed, until the returned function is called. Folders of packages, hidden ones and those in `ignored` do not count.
 */
export function watchSources(
  directory: string,
  ignored: readonly string[],
  changed: (file: string) => void,
): () => void {
  const left = new Set(ignored.map((folder) => resolve(folder)));
  let seen = look(directory, left);
  let watchers: FSWatcher[] = [];
  let timer: NodeJS.Timeout | undefined;

  const close = () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
  const open = () => {
    watchers = seen.folders.map((folder) => watch(folder, later).on("error", later));
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(compare, settleMs);
  };
  // An event says little: what counts is what is on the disk.
  const compare = () => {
    const before = seen.files;
    seen = look(directory, left);
    const file = [...new Set([...before.keys(), ...seen.files.keys()])].find(
      (path) => before.get(path) !== seen.files.get(path),
    );
    close();
    open();
    if (file !== undefined) changed(relative(directory, file));
  };
  open();
  return close;
}

interface Sight {
  readonly folders: readonly string[];
  /** Time and size of each file, by path. */
  readonly files: ReadonlyMap<string, string>;
}

function look(directory: string, left: ReadonlySet<string>): Sight {
  const folders: string[] = [];
  const files = new Map<string, string>();
  const visit = (folder: string) => {
    if (left.has(resolve(folder))) return;
    try {
      const entries = readdirSync(folder, { withFileTypes: true });
      folders.push(folder);
      for (const entry of entries) {
        if (entry.name === "node_modules" || entry.name.startsWith(".")) continue;
        const path = join(folder, entry.name);
        if (entry.isDirectory()) visit(path);
        else if (/\.([cm]?[jt]s|json)$/.test(entry.name)) {
          const { mtimeMs, size } = statSync(path);
          files.set(path, `${mtimeMs} ${size}`);
        }
      }
    } catch {
      // Removed while it was looked at: that is a change too.
    }
  };
  visit(directory);
  return { folders, files };
}
