/* What the rest of the front needs to know of the envelope's layout. */
#ifndef ZBZ_CACHE_ENVELOPE_H
#define ZBZ_CACHE_ENVELOPE_H

enum { ZBZ_ENVELOPE_HEAD = 22 }; /* bytes before the payload */

#endif
