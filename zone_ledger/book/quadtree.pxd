# What `quadtree.py` defines for itself where it runs from the source: shorter names of types, constants, and three
# routines that need the processor's own instructions.
ctypedef long long i64
ctypedef int i32

cdef extern from *:
    """
    #define TEG_BAR (1LL << 32)
    #define TEG_AVAILABLE (TEG_BAR - 1)
    typedef short teg_row8 __attribute__((vector_size(16), aligned(2), may_alias));

    static inline int teg_bit_length(long long x) { return x ? 64 - __builtin_clzll((unsigned long long)x) : 0; }

    static const short teg_window[64] = {[32] = -1};

    #ifdef __SSE2__
    #include <emmintrin.h>
    static inline teg_row8 teg_max(teg_row8 a, teg_row8 b) { return (teg_row8)_mm_max_epi16((__m128i)a, (__m128i)b); }
    #else
    static inline teg_row8 teg_max(teg_row8 a, teg_row8 b) {
        teg_row8 mask = a > b;
        return (a & mask) | (b & ~mask);
    }
    #endif

    static inline teg_row8 teg_at(long long place, int value) {
        teg_row8 all = {0};
        return (all + (short)value) & *(const teg_row8 *)(teg_window + 32 - place);
    }

    /* The entrywise greatest of four rows in a run, and of three values at their places. */
    static inline void teg_build_row(short *out, long long width, const short *below, long long width_below,
                                     int free, long long place, int half, int whole) {
        for (long long chunk = 0; chunk < width; chunk += 8) {
            teg_row8 best = teg_max(teg_at(place - chunk, half), teg_at(place + 1 - chunk, whole));
            if (chunk == 0) best = teg_max(best, teg_at(0, free));
            if (chunk < width_below) {
                const short *at = below + chunk;
                best = teg_max(best, teg_max(
                    teg_max(*(const teg_row8 *)at, *(const teg_row8 *)(at + width_below)),
                    teg_max(*(const teg_row8 *)(at + 2 * width_below), *(const teg_row8 *)(at + 3 * width_below))));
            }
            *(teg_row8 *)(out + chunk) = best;
        }
    }

    static inline void teg_first_row(short *out, int free, int share, int value, int half, int whole) {
        teg_row8 row = {(short)free, (short)share, (short)value, (short)half, (short)whole, 0, 0, 0};
        *(teg_row8 *)out = row;
    }
    """
    const i64 BAR "TEG_BAR"
    const i64 AVAILABLE "TEG_AVAILABLE"
    i32 bit_length "teg_bit_length"(i64 number) nogil
    void prefetch "__builtin_prefetch"(const void* address) nogil
    void build_row "teg_build_row"(
        short* out, i64 width, const short* below, i64 width_below, i32 free, i64 place, i32 half, i32 whole
    ) nogil
    void first_row "teg_first_row"(short* out, i32 free, i32 share, i32 value, i32 half, i32 whole) nogil

cdef enum:
    INFEASIBLE = 0x7FFF
    NO_CUT = 64
    NODE = 8
    LEASE = 8
    HOST = 8
    COMMAND_WORDS = 10
    RESULT_WORDS = 4
    OP_QUOTE = 0
    OP_RELEASE = 2
    OP_REPRICE = 3
    OP_CORDON = 4
    NO_FIT = 1
    PRICE = 2
    TAKEN = 3
    UNKNOWN = 4
