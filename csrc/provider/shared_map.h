/* How a segment of `shared` comes into memory. With pages of 4 KiB nearly every read of a large segment walks the page tables, once for
 * the bucket and once for the entry; with pages of 2 MiB the processor knows the way. */
#ifndef ZBZ_PROVIDER_SHARED_MAP_H
#define ZBZ_PROVIDER_SHARED_MAP_H

#include <zbz/bytes.h>

/* Maps a file, or shared anonymous memory with fd < 0, at an address where large pages are possible. munmap undoes it. */
zbz_status zbz_shared_map(uint64_t size, int fd, unsigned char **base, zbz_err *err);
/* Fresh memory, still zero and nobody else's: takes it in large pages, as far as the system gives them and for half a second at most
 * (MADV_COLLAPSE, Linux 6.1, needs no setting; before it shmem_enabled must be `advise`). The rest stays as it was. The memory is taken
 * now and not when it is first written to; where that was too much, none of it is lost. */
void zbz_shared_map_huge(unsigned char *base, uint64_t size);

#endif
