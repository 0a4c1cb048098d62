// Small questions that bake.sh has:
//   images.mjs labels          a file for docker bake with the labels that each operator's image takes from its operator.json
//   images.mjs targets < PLAN  names of the targets in what `docker buildx bake --print` printed
//   images.mjs pulls < PLAN    of each image: the name in the registry, and the name that podman shall know it by
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));

function readSpec(name) {
  try {
    return JSON.parse(readFileSync(join(folder, name, "operator.json"), "utf8"));
  } catch (error) {
    console.error(`operators/${name}/operator.json cannot be used: ${error.message}`);
    process.exit(1);
  }
}

const isOperator = (name) => existsSync(join(folder, name, "operator.json"));

/** Bake expands `${` and `%{` in JSON, too; with the first character doubled they stand for themselves. */
const literal = (text) => text.replaceAll(/([$%])(?=\{)/g, "$1$1");

function labels() {
  const entries = readdirSync(folder)
    .filter(isOperator)
    .map((name) => {
      const spec = readSpec(name);
      const labels = {
        "interactem.operator.spec": JSON.stringify(spec),
        "org.opencontainers.image.title": spec.label,
        "org.opencontainers.image.description": spec.description,
      };
      for (const [label, text] of Object.entries(labels)) labels[label] = literal(text);
      return [name, { labels }];
    });
  return JSON.stringify({ target: Object.fromEntries(entries) });
}

const readPlan = () => JSON.parse(readFileSync(0, "utf8")).target;

/** Those with a name of their own, and so an image. */
const withImage = (plan) => Object.entries(plan).filter(([, { tags = [] }]) => tags.length > 0);

function targets() {
  return withImage(readPlan())
    .map(([name]) => name)
    .join(" ");
}

function pulls() {
  return withImage(readPlan())
    .map(([name, { tags }]) => `${tags[0]} ${isOperator(name) ? readSpec(name).image : `localhost/${name}`}`)
    .join("\n");
}

process.stdout.write(`${{ labels, targets, pulls }[process.argv[2]]()}\n`);
