# Images of the bases and of every operator. operators/bake.sh calls this with a vars file and with the labels that it makes
# of each operator.json; paths are relative to the root of the repository.

variable "REGISTRY" {
  default = "ghcr.io/nersc/interactem"
}

variable "TAG" {
  default = "latest"
}

variable "NODE_IMAGE" {
  default = "docker.io/library/node:24-slim"
}

variable "VERSION" {
  default = ""
}

variable "REVISION" {
  default = ""
}

variable "SOURCE" {
  default = ""
}

group "default" {
  targets = ["bases", "operators"]
}

group "bases" {
  targets = ["interactem-base", "interactem-operator", "distiller-streaming"]
}

group "operators" {
  targets = [
    "center-of-mass-partial",
    "center-of-mass-plot",
    "center-of-mass-reduce",
    "distiller-counted-data-reader",
    "scan-analysis",
  ]
}

# Platforms, cache and output are set by the vars files.
target "common" {
  dockerfile = "Containerfile"
  labels = {
    "org.opencontainers.image.version"  = VERSION
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.source"   = SOURCE == "" ? null : SOURCE
    "org.opencontainers.image.licenses" = "BSD-3-Clause"
  }
}

# The package with its dependencies, from what `operators/bake.sh --build-base` puts there.
target "stemline-package" {
  inherits = ["common"]
  context  = "containers/package"
  contexts = { stemline-package-files = "build-images/package" }
  args     = { NODE_IMAGE = NODE_IMAGE }
}

target "interactem-base" {
  inherits = ["common"]
  context  = "containers/interactem-base"
  args     = { NODE_IMAGE = NODE_IMAGE }
  labels   = { "org.opencontainers.image.title" = "interactem-base" }
  tags     = ["${REGISTRY}/interactem-base:${TAG}"]
}

target "interactem-operator" {
  inherits = ["common"]
  context  = "containers/interactem-operator"
  contexts = {
    interactem-base  = "target:interactem-base"
    stemline-package = "target:stemline-package"
  }
  labels = { "org.opencontainers.image.title" = "interactem-operator" }
  tags   = ["${REGISTRY}/interactem-operator:${TAG}"]
}

target "distiller-streaming" {
  inherits = ["common"]
  context  = "containers/distiller-streaming"
  contexts = {
    interactem-operator = "target:interactem-operator"
    stemline-package    = "target:stemline-package"
  }
  labels = { "org.opencontainers.image.title" = "distiller-streaming" }
  tags   = ["${REGISTRY}/distiller-streaming:${TAG}"]
}

# One folder, one image: an operator inherits one of the first three, and npm-cache when it has a package.json.
target "operator" {
  inherits = ["common"]
}

target "on-interactem-operator" {
  inherits = ["operator"]
  contexts = { interactem-operator = "target:interactem-operator" }
}

target "on-distiller-streaming" {
  inherits = ["operator"]
  contexts = { distiller-streaming = "target:distiller-streaming" }
}

target "npm-cache" {
  contexts = { npm-cache = "build-images/npm-cache" }
}

target "center-of-mass-partial" {
  inherits = ["on-distiller-streaming"]
  context  = "operators/center-of-mass-partial"
  tags     = ["${REGISTRY}/center-of-mass-partial:${TAG}"]
}

target "center-of-mass-plot" {
  inherits = ["on-distiller-streaming"]
  context  = "operators/center-of-mass-plot"
  tags     = ["${REGISTRY}/center-of-mass-plot:${TAG}"]
}

target "center-of-mass-reduce" {
  inherits = ["on-distiller-streaming"]
  context  = "operators/center-of-mass-reduce"
  tags     = ["${REGISTRY}/center-of-mass-reduce:${TAG}"]
}

target "distiller-counted-data-reader" {
  inherits = ["on-distiller-streaming"]
  context  = "operators/distiller-counted-data-reader"
  tags     = ["${REGISTRY}/distiller-counted-data-reader:${TAG}"]
}

target "scan-analysis" {
  inherits = ["on-distiller-streaming"]
  context  = "operators/scan-analysis"
  tags     = ["${REGISTRY}/scan-analysis:${TAG}"]
}
