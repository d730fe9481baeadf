cdef extern from "math.h" nogil:
    double sqrt(double)
    double floor(double)
