# The build cache of GitHub Actions; used besides another vars file, where the variable CI_CACHE is set.
target "common" {
  cache-from = ["type=gha"]
  cache-to   = ["type=gha,mode=max"]
}
