# Images for podman on this machine, through a registry on it.
variable "REGISTRY" {
  default = "localhost:5001/ghcr.io/nersc/interactem"
}
