/* A rival for the book: find an aligned free block of 64 slots by scanning a bitmap, one word a block, take it, give it
 * back. Set bits are free slots. Returns the last word found. */
#include <stdint.h>

int64_t grant_release(uint64_t *words, int64_t count, int64_t rounds) {
    int64_t found = -1;
    for (int64_t round = 0; round < rounds; round++) {
        found = -1;
        for (int64_t at = 0; at + 8 <= count; at += 8) {
            uint64_t any = (words[at] == ~0ull) | (words[at + 1] == ~0ull) | (words[at + 2] == ~0ull) |
                           (words[at + 3] == ~0ull) | (words[at + 4] == ~0ull) | (words[at + 5] == ~0ull) |
                           (words[at + 6] == ~0ull) | (words[at + 7] == ~0ull);
            if (any) {
                while (words[at] != ~0ull) at++;
                found = at;
                break;
            }
        }
        if (found < 0) return -1;
        ((volatile uint64_t *)words)[found] = 0;
        ((volatile uint64_t *)words)[found] = ~0ull;
    }
    return found;
}
