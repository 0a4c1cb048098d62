// libstdc++ asks this flag of glibc 2.32 whether it may count references without atomic operations. Node always has
// several threads: with a flag of our own, always 0, the addon also loads where glibc is older.
extern "C" {
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
}
