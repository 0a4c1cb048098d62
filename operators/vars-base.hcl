# Images for this machine alone: they stay in Docker's own store.
variable "REGISTRY" {
  default = "ghcr.io/nersc/interactem"
}
